"""What the unit's sandbox refuses a hand is laid to the setting that refuses it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.nspawn import Machine

TRIALS = """\
import ctypes, mmap, os, socket

def _once(trial):
    def doer(tymth, tock, **opts):
        trial()
        yield tock
    return doer

@_once
def writes():
    open("/usr/share/hiod.out", "w")

@_once
def sniffs():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)

@_once
def compiles():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)

@_once
def gives_away():
    os.chown(".", 0, 0)

@_once
def reads_home():
    open("/home/app/settings")

@_once
def asks_kernel():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)

def _check(answer):
    if answer:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

@_once
def contains():
    _check(ctypes.CDLL(None, use_errno=True).unshare(0x10000000))

@_once
def listens():
    socket.socket().bind(("127.0.0.1", 80))

@_once
def opens_device():
    open("/dev/fuse")

@_once
def calls():
    socket.socket().connect(("192.0.2.1", 9))
"""


@pytest.fixture
def trials(hiod: Machine) -> Iterator[Machine]:
    """Give the machine with the module of the trials in it; no hand of them is left."""
    hiod.write("/srv/trials/trials.py", TRIALS)
    hiod.run("mkdir", "-p", "/home/app")
    yield hiod
    if "trial" in hiod.hands():
        hiod.call("remove", names=["trial"], wait="gone", timeout_s=20)


def tried(machine: Machine, **spec: Any) -> dict[str, list[str]]:
    """Let a hand run into something; return what ``why`` finds."""
    if "doers" in spec:
        spec.setdefault("path", ["/srv/trials"])
    machine.call("add", spec={"name": "trial", "restart": {"policy": "never"}, **spec})
    wait_until(lambda: machine.hands()["trial"]["state"] == "failed")
    told = machine.call("why", names=["trial"])["hands"][0]
    return {one["label"]: one["lines"] for one in told["findings"]}


CASES = [
    ("writes", "ProtectSystem=strict", ["ReadWritePaths=/usr/share"]),
    ("compiles", "MemoryDenyWriteExecute=yes", ["MemoryDenyWriteExecute=no"]),
    ("gives_away", "SystemCallFilter=", ["SystemCallFilter=@chown"]),
    ("reads_home", "ProtectHome=yes", ["ProtectHome=read-only"]),
    ("opens_device", "PrivateDevices=yes", ["PrivateDevices=no", "DeviceAllow=/dev/fuse rw"]),
    ("asks_kernel", "RestrictAddressFamilies=", ["RestrictAddressFamilies=AF_NETLINK"]),
    (
        "sniffs",
        "RestrictAddressFamilies=",
        [
            "RestrictAddressFamilies=AF_PACKET",
            "AmbientCapabilities=CAP_NET_RAW",
            "CapabilityBoundingSet=CAP_NET_RAW",
        ],
    ),
    (
        "listens",
        "CapabilityBoundingSet=",
        ["AmbientCapabilities=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"],
    ),
    ("contains", "RestrictNamespaces=yes", ["RestrictNamespaces=no"]),
]


@pytest.mark.parametrize(("trial", "setting", "drop_in"), CASES, ids=[one[0] for one in CASES])
def test_why_names_the_setting_and_the_drop_in(
    trials: Machine, trial: str, setting: str, drop_in: list[str]
) -> None:
    found = tried(trials, doers=[f"trials:{trial}"])

    assert found["sandbox"][0].startswith(f"{setting} of hiod.service: ")
    assert found["try"][0] == "systemctl edit hiod.service, and write there:"
    shown = found["try"][1 : 2 + len(drop_in)]
    assert [line.strip() for line in shown] == ["[Service]", *drop_in]


def test_the_page_s_table_has_the_drop_ins_that_why_dictates() -> None:
    page = (Path(__file__).parents[2] / "docs/systemd.md").read_text()
    table = page[page.index("| a hand wants to") : page.index("What a command's own output")]

    told = {re.sub("=[/].*", "=", line) for _, _, drop_in in CASES for line in drop_in}
    shown = {re.sub("=[/].*", "=", line) for line in re.findall(r"`(\w+=[^`]+)`", table)}

    assert shown == told


@pytest.mark.parametrize(
    "spec",
    [
        {"command": ["sleep", "9"], "cwd": "/home/app"},
        {"command": ["/home/app/bin/serve"]},
        {"doers": ["shop:Shop"], "path": ["/home/app"]},
        {"doers": ["trials:writes"], "python": "/home/app/venv/bin/python"},
    ],
    ids=["cwd", "command", "path", "python"],
)
def test_what_lies_below_a_home_directory_is_out_of_reach(trials: Machine, spec: Any) -> None:
    found = tried(trials, **spec)

    assert found["sandbox"] == [found["sandbox"][0]]
    assert found["sandbox"][0].startswith("ProtectHome=yes of hiod.service: it hides /home/app")
    assert "  ProtectHome=read-only" in found["try"]


def test_a_drop_in_that_why_dictates_lets_the_hand_through(trials: Machine) -> None:
    found = tried(trials, doers=["trials:compiles"])
    drop_in = "\n".join(line.strip() for line in found["try"] if line.startswith("  "))
    path = "/run/systemd/system/hiod.service.d/lift.conf"
    trials.write(path, drop_in + "\n")
    trials.run("systemctl", "daemon-reload")
    trials.run("systemctl", "restart", "hiod")
    try:
        trials.call("start", names=["trial"], wait="gone", timeout_s=20)

        assert trials.hands()["trial"]["state"] == "done"
        assert "MemoryDenyWriteExecute=yes" not in trials.call("about")["sandbox"]
    finally:
        trials.run("rm", path)
        trials.run("systemctl", "daemon-reload")
        trials.run("systemctl", "restart", "hiod")


def test_a_call_that_kills_is_laid_to_the_filter(trials: Machine) -> None:
    path = "/run/systemd/system/hiod.service.d/kill.conf"
    trials.write(path, "[Service]\nSystemCallErrorNumber=kill\n")
    trials.run("systemctl", "daemon-reload")
    trials.run("systemctl", "restart", "hiod")
    try:
        found = tried(trials, doers=["trials:gives_away"])

        assert found["last"][0].startswith("signal 31")
        assert found["sandbox"][0].startswith("SystemCallFilter= of hiod.service: ")
        assert "  SystemCallErrorNumber=EPERM" in found["try"]
    finally:
        trials.run("rm", path)
        trials.run("systemctl", "daemon-reload")
        trials.run("systemctl", "restart", "hiod")


def test_a_hand_that_fails_by_itself_is_not_laid_to_the_sandbox(trials: Machine) -> None:
    found = tried(trials, command=["/srv/trials/nothing-here"])

    assert "sandbox" not in found


def test_about_tells_the_settings_that_are_at_work(hiod: Machine) -> None:
    told = hiod.call("about")["sandbox"]

    assert told == [
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
    assert "sandbox: NoNewPrivileges=yes" in hiod.out("hiodctl", "about")


def test_a_private_network_is_seen(trials: Machine) -> None:
    path = "/run/systemd/system/hiod.service.d/network.conf"
    trials.run("install", "-D", "-m", "644", "/usr/share/hiod/hiod-no-network.conf", path)
    trials.run("systemctl", "daemon-reload")
    trials.run("systemctl", "restart", "hiod")
    try:
        found = tried(trials, doers=["trials:calls"])

        assert "PrivateNetwork=yes" in trials.call("about")["sandbox"]
        assert found["sandbox"][0].startswith("RestrictAddressFamilies= of hiod.service: ")
        assert "  PrivateNetwork=no" in found["try"]
        assert "  RestrictAddressFamilies=AF_INET AF_INET6" in found["try"]
    finally:
        trials.run("rm", path)
        trials.run("systemctl", "daemon-reload")
        trials.run("systemctl", "restart", "hiod")
