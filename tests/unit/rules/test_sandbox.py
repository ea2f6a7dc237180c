from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiod.rules.sandbox import SIGSYS, Mount, Sandbox, obstacle

ROOT = Mount("/", "/", "ext4", narrowed=True)
FREE = Mount("/", "/", "ext4", narrowed=False)
STATE = Mount("/var/lib/hiod", "/var/lib/hiod", "ext4", narrowed=False)
HOME = Mount("/home", "/systemd/inaccessible/dir", "tmpfs", narrowed=True)
DEVICES = Mount("/dev", "/", "tmpfs", narrowed=True)
GROUPS = Mount("/sys/fs/cgroup", "/", "cgroup2", narrowed=True)
SHIPPED = Sandbox(
    unit="hiod.service",
    mounts=(ROOT, DEVICES, HOME, GROUPS, Mount("/proc/sys", "/sys", "proc", narrowed=True), STATE),
    filtered=True,
    no_new_privileges=True,
    no_exec_memory=True,
    no_netlink=True,
    capabilities=0,
)


def raised(exception: str, *source: str) -> str:
    """Return the traceback that ends with those lines of source, the innermost last."""
    frames = "".join(f'  File "/srv/app.py", line 3, in up\n    {line}\n' for line in source)
    return f"Traceback (most recent call last):\n{frames}    ^^^^^^^\n{exception}\n"


def refused(number: int, *source: str, path: str = "") -> str:
    named = f": '{path}'" if path else ""
    return raised(f"OSError: [Errno {number}] whatever the language{named}", *source)


def named(sandbox: Sandbox, said: str, **facts) -> tuple[str, tuple[str, ...]] | None:
    found = obstacle(sandbox, said, **facts)
    return None if found is None else (found.setting, found.drop_in)


NETWORKLESS = replace(SHIPPED, alone=True)


@pytest.mark.parametrize(
    ("sandbox", "said", "setting", "drop_in"),
    [
        (SHIPPED, refused(errno.EROFS, path="/srv/data/x"), "ProtectSystem=strict",
         ["ReadWritePaths=/srv/data"]),
        (replace(SHIPPED, mounts=(FREE, Mount("/usr", "/usr", "ext4", narrowed=True))),
         refused(errno.EROFS, path="/usr/x"), "ProtectSystem=", ["ReadWritePaths=/usr"]),
        (replace(SHIPPED, mounts=(FREE, Mount("/srv", "/srv", "ext4", narrowed=True))),
         refused(errno.EROFS, path="/srv/x"), "ReadOnlyPaths=", ["ReadWritePaths=/srv"]),
        (replace(SHIPPED, mounts=(ROOT, Mount("/home", "/home", "ext4", narrowed=True))),
         refused(errno.EROFS, path="/home/a/x"), "ProtectHome=read-only",
         ["ReadWritePaths=/home/a"]),
        (SHIPPED, refused(errno.EROFS, path="/sys/fs/cgroup/mine"), "ProtectControlGroups=yes",
         ["ProtectControlGroups=no"]),
        (SHIPPED, refused(errno.EROFS, path="/proc/sys/vm/swappiness"),
         "ProtectKernelTunables=yes", ["ProtectKernelTunables=no"]),
        (SHIPPED, 'cannot enter its working directory "/home/a": Permission denied',
         "ProtectHome=yes", ["ProtectHome=read-only"]),
        (SHIPPED, refused(errno.EROFS, path="/home/a"), "ProtectHome=yes",
         ["ProtectHome=read-only"]),
        (replace(SHIPPED, mounts=(ROOT, Mount("/root", "/", "tmpfs", narrowed=True))),
         refused(errno.ENOENT, path="/root/key"), "ProtectHome=tmpfs", ["ProtectHome=read-only"]),
        (replace(SHIPPED, mounts=(ROOT, replace(HOME, at="/srv/secret"))),
         refused(errno.EACCES, path="/srv/secret/key"), "InaccessiblePaths=/srv/secret",
         ["InaccessiblePaths="]),
        (SHIPPED, refused(errno.ENOENT, path="/dev/ttyUSB0"), "PrivateDevices=yes",
         ["PrivateDevices=no", "DeviceAllow=/dev/ttyUSB0 rw"]),
        (SHIPPED,
         refused(errno.EAFNOSUPPORT, "s = socket(AF_NETLINK)", "_socket.socket.__init__(self)"),
         "RestrictAddressFamilies=", ["RestrictAddressFamilies=AF_NETLINK"]),
        (SHIPPED, refused(errno.EAFNOSUPPORT, "go()"), "RestrictAddressFamilies=",
         ["RestrictAddressFamilies=AF_…"]),
        (SHIPPED, refused(errno.EAFNOSUPPORT, "socket(PF_PACKET)"), "RestrictAddressFamilies=",
         ["RestrictAddressFamilies=AF_PACKET", "AmbientCapabilities=CAP_NET_RAW",
          "CapabilityBoundingSet=CAP_NET_RAW"]),
        (NETWORKLESS, refused(errno.EAFNOSUPPORT, "connect()"), "RestrictAddressFamilies=",
         ["RestrictAddressFamilies=AF_INET AF_INET6", "PrivateNetwork=no", "IPAddressDeny="]),
        (NETWORKLESS, raised("socket.gaierror: [Errno -3] Temporary failure in name resolution"),
         "PrivateNetwork=yes",
         ["PrivateNetwork=no", "IPAddressDeny=", "RestrictAddressFamilies=AF_INET AF_INET6"]),
        (SHIPPED, refused(errno.EACCES, "sock.bind(('', 80))"), "CapabilityBoundingSet=",
         ["AmbientCapabilities=CAP_NET_BIND_SERVICE",
          "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"]),
        (SHIPPED, refused(errno.EPERM, "mmap.mmap(-1, 1, prot=7)"), "MemoryDenyWriteExecute=yes",
         ["MemoryDenyWriteExecute=no"]),
        (SHIPPED, refused(errno.EPERM, "os.unshare(os.CLONE_NEWNS)"), "RestrictNamespaces=yes",
         ["RestrictNamespaces=no"]),
        (SHIPPED,
         refused(errno.EPERM, "check(libc.setns(3, 0))", "raise OSError(ctypes.get_errno())"),
         "RestrictNamespaces=yes", ["RestrictNamespaces=no"]),
        (SHIPPED, refused(errno.EPERM, "os.chmod(path, 0o4755)", path="x"),
         "RestrictSUIDSGID=yes", ["RestrictSUIDSGID=no"]),
        (SHIPPED, refused(errno.EPERM, "os.chown(path, 0, 0)", path="x"), "SystemCallFilter=",
         ["SystemCallFilter=@chown"]),
        (SHIPPED, refused(errno.EPERM, "os.setuid(0)"), "SystemCallFilter=",
         ["SystemCallFilter=@setuid", "AmbientCapabilities=CAP_SETUID",
          "CapabilityBoundingSet=CAP_SETUID"]),
        (SHIPPED, refused(errno.ENOSYS, "lib.keyctl(1)"), "SystemCallFilter=",
         ["SystemCallFilter=keyctl"]),
        (SHIPPED, "Function not implemented", "SystemCallFilter=", ["SystemCallFilter=…"]),
    ],
)  # fmt: skip
def test_a_refusal_is_laid_to_the_setting_that_explains_it(
    sandbox: Sandbox, said: str, setting: str, drop_in: list[str]
) -> None:
    assert named(sandbox, said) == (setting, tuple(drop_in))


@pytest.mark.parametrize(
    "said",
    [
        "KeyError: 'x'",
        refused(errno.EROFS, path="/var/lib/hiod/x"),
        refused(errno.ENOENT, path="/srv/gone"),
        refused(errno.EACCES, path="/etc/shadow"),
        refused(errno.EACCES, "open(1)"),
        refused(errno.EPERM, "os.kill(1, 9)"),
        refused(errno.EADDRINUSE, "sock.bind(('', 80))"),
        refused(errno.ENETUNREACH, "sock.connect(there)"),
        refused(errno.EPERM),
    ],
)
def test_what_no_setting_explains_is_laid_to_none(said: str) -> None:
    assert obstacle(SHIPPED, said) is None


@given(st.text() | st.sampled_from([refused(one, "f()") for one in (1, 2, 13, 30, 38, 97)]))
def test_nothing_is_laid_to_a_unit_where_there_is_none(said: str) -> None:
    assert obstacle(replace(SHIPPED, unit=""), said, signal=SIGSYS) is None


@pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EPERM, errno.ENOSYS])
def test_what_only_a_filter_refuses_is_no_filter_s_where_none_is(number: int) -> None:
    bare = Sandbox(unit="hiod.service", mounts=(FREE,))

    assert obstacle(bare, refused(number, "os.chown(AF_NETLINK)"), signal=SIGSYS) is None


def test_a_port_is_not_out_of_reach_for_who_has_the_capability() -> None:
    able = replace(SHIPPED, capabilities=1 << 10)

    assert obstacle(able, refused(errno.EACCES, "sock.bind(('', 80))")) is None


def test_a_forbidden_call_that_kills_is_made_to_fail_so_that_it_can_be_told() -> None:
    assert named(SHIPPED, "", signal=SIGSYS) == (
        "SystemCallFilter=",
        ("SystemCallErrorNumber=EPERM",),
    )


def test_a_relative_path_is_taken_from_where_the_hand_ran() -> None:
    said = refused(errno.EROFS, path="out.log")

    assert named(SHIPPED, said, cwd="/srv/app") == (
        "ProtectSystem=strict",
        ("ReadWritePaths=/srv/app",),
    )
    assert named(SHIPPED, said, cwd="/var/lib/hiod/hands/web") is None


def test_a_module_is_hidden_with_the_directory_it_is_in() -> None:
    said = "ModuleNotFoundError: No module named 'shop'"

    assert named(SHIPPED, said, looked_in=["/srv/app"]) is None
    assert named(SHIPPED, said, looked_in=["/srv/app", "/home/app"]) == (
        "ProtectHome=yes",
        ("ProtectHome=read-only",),
    )


def test_the_latest_refusal_counts() -> None:
    said = refused(errno.EROFS, path="/srv/first") + refused(errno.EPERM, "os.setgroups([])")

    assert named(SHIPPED, said, cwd="/")[0] == "SystemCallFilter="


def test_of_two_mounts_at_one_place_the_later_is_seen() -> None:
    seen = replace(SHIPPED, mounts=(ROOT, replace(ROOT, narrowed=False)))

    assert seen.over("/srv").narrowed is False


def test_a_mount_covers_what_is_below_it_and_not_what_begins_alike() -> None:
    assert SHIPPED.over("/home").at == "/home"
    assert SHIPPED.over("/homes/x").at == "/"


def test_the_settings_at_work_are_told_as_a_unit_says_them() -> None:
    assert SHIPPED.settings() == [
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateDevices=yes",
        "ProtectControlGroups=yes",
        "RestrictAddressFamilies=",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=",
    ]
    usr, home = (Mount(at, at, "ext4", narrowed=True) for at in ("/usr", "/home"))
    assert Sandbox("x.service", mounts=(FREE, usr, home)).settings() == [
        "ProtectSystem=",
        "ProtectHome=read-only",
    ]
    assert Sandbox(mounts=SHIPPED.mounts, filtered=True).settings() == []
