"""What the unit's sandbox refuses a hand is laid to the setting that refuses it."""

from __future__ import annotations

import contextlib
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


BELOW_HOME = {
    "cwd": {"command": ["sleep", "9"], "cwd": "/home/app"},
    "command": {"command": ["/home/app/bin/serve"]},
    "path": {"doers": ["shop:Shop"], "path": ["/home/app"]},
    "python": {"doers": ["trials:writes"], "python": "/home/app/venv/bin/python"},
}
BY_ITSELF = {"command": ["/srv/trials/nothing-here"]}


def doing(trial: str) -> dict[str, Any]:
    """Return the definition of a hand that runs into one thing."""
    return {"doers": [f"trials:{trial}"], "path": ["/srv/trials"]}


@pytest.fixture
def trials(hiod: Machine) -> Machine:
    """Give the machine with the module of the trials in it."""
    hiod.write("/srv/trials/trials.py", TRIALS)
    hiod.run("mkdir", "-p", "/home/app")
    return hiod


def tried(machine: Machine, specs: dict[str, dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Let hands run into something, all at once; return what ``why`` finds of each."""
    for name, spec in specs.items():
        machine.call("add", spec={"name": name, "restart": {"policy": "never"}, **spec})
    try:
        wait_until(lambda: {machine.hands()[name]["state"] for name in specs} == {"failed"})
        told = machine.call("why", names=list(specs))["hands"]
    finally:
        machine.call("remove", names=list(specs), wait="gone", timeout_s=20)
    return {hand["name"]: {one["label"]: one["lines"] for one in hand["findings"]} for hand in told}


def test_why_names_the_setting_and_the_drop_in(trials: Machine) -> None:
    found = tried(trials, {trial.replace("_", "-"): doing(trial) for trial, _, _ in CASES})

    for trial, setting, drop_in in CASES:
        told = found[trial.replace("_", "-")]
        assert told["sandbox"][0].startswith(f"{setting} of hiod.service: "), trial
        shown = [line.strip() for line in told["try"][: 2 + len(drop_in)]]
        assert shown == ["systemctl edit hiod.service, and write there:", "[Service]", *drop_in]


def test_what_lies_below_a_home_directory_is_out_of_reach(trials: Machine) -> None:
    found = tried(trials, BELOW_HOME | {"by-itself": BY_ITSELF})

    assert "sandbox" not in found.pop("by-itself")
    for name, told in found.items():
        (line,) = told["sandbox"]
        assert line.startswith("ProtectHome=yes of hiod.service: it hides /home/app"), name
        assert "  ProtectHome=read-only" in told["try"]


def test_the_page_s_table_has_the_drop_ins_that_why_dictates() -> None:
    page = (Path(__file__).parents[2] / "docs/systemd.md").read_text()
    table = page[page.index("| a hand wants to") : page.index("What a `command` hand prints")]

    told = {re.sub("=[/].*", "=", line) for _, _, drop_in in CASES for line in drop_in}
    shown = {re.sub("=[/].*", "=", line) for line in re.findall(r"`(\w+=[^`]+)`", table)}

    assert shown == told


@contextlib.contextmanager
def lifted(machine: Machine, *lines: str) -> Iterator[None]:
    """Run the service with a drop-in of those lines."""
    path = "/run/systemd/system/hiod.service.d/trial.conf"
    machine.write(path, "\n".join(lines) + "\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "hiod")
    try:
        yield
    finally:
        machine.run("rm", path)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", "hiod")


def test_the_drop_in_that_why_dictates_lets_the_hand_through(trials: Machine) -> None:
    found = tried(trials, {"trial": doing("compiles")})["trial"]
    with lifted(trials, *(line.strip() for line in found["try"] if line.startswith("  "))):
        trials.call(
            "add", spec={"name": "trial", "restart": {"policy": "never"}, **doing("compiles")}
        )
        try:
            wait_until(lambda: trials.hands()["trial"]["state"] in {"done", "failed"})

            assert trials.hands()["trial"]["state"] == "done"
            assert "MemoryDenyWriteExecute=yes" not in trials.call("about")["sandbox"]
        finally:
            trials.call("remove", names=["trial"], wait="gone", timeout_s=20)


def test_a_call_that_kills_is_laid_to_the_filter(trials: Machine) -> None:
    with lifted(trials, "[Service]", "SystemCallErrorNumber=kill"):
        found = tried(trials, {"trial": doing("gives_away")})["trial"]

    assert found["last"][0].startswith("signal 31")
    assert found["sandbox"][0].startswith("SystemCallFilter= of hiod.service: ")
    assert "  SystemCallErrorNumber=EPERM" in found["try"]


def test_a_private_network_is_seen(trials: Machine) -> None:
    shipped = trials.root / "usr/share/hiod/hiod-no-network.conf"
    with lifted(trials, shipped.read_text()):
        found = tried(trials, {"trial": doing("calls")})["trial"]
        settings = trials.call("about")["sandbox"]

    assert "PrivateNetwork=yes" in settings
    assert found["sandbox"][0].startswith("RestrictAddressFamilies= of hiod.service: ")
    assert "  PrivateNetwork=no" in found["try"]
    assert "  RestrictAddressFamilies=AF_INET AF_INET6" in found["try"]


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
