"""What a hand left behind is ended where no launcher can, and nobody else is touched."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import select
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from hiod.host import finding, procs, sweeping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from hiod.rules.records import ProcessId

# Every process of the machine is looked at: those of another run of these tests are strangers.
CREW = f"crew{os.getpid()}"
NAME, GENERATION, TOKEN = "nt", 3, f"{CREW}.nt.3"
MINE = {"HIOD_NAME": NAME, "HIOD_GENERATION": str(GENERATION)}

WORKER = "sleep 4242 & echo $!;"
DAEMON = "setsid sleep 4242 & echo $!;"
BARE = "env -u HIOD_NAME sh -c 'exec 5<&-; echo $$; exec sleep 4242' &"
HAND = "sleep 4242"


class Family:
    """The leader of a session with its children, each with a descriptor that tells its end."""

    def __init__(self, script: str, env: Mapping[str, str], token: str) -> None:
        memfd = os.memfd_create("hiod-token", 0)
        os.write(memfd, token.encode())
        self.leader = subprocess.Popen(
            ["sh", "-c", f"exec 5</proc/self/fd/{memfd}; {script} echo; exec {HAND}"],
            env={"PATH": os.environ["PATH"], **env},
            stdout=subprocess.PIPE,
            pass_fds=(memfd,),
            start_new_session=True,
            text=True,
        )
        os.close(memfd)
        assert self.leader.stdout is not None
        lines = [self.leader.stdout.readline().strip() for _ in range(script.count("echo") + 1)]
        self.children = {int(line): os.pidfd_open(int(line)) for line in lines if line}
        process = procs.identify(self.leader.pid)
        assert process is not None
        self.process = process

    def lose_leader(self) -> None:
        self.leader.kill()
        self.leader.wait(20)

    def source(self, process: ProcessId | None = None) -> sweeping.Source:
        return sweeping.Source(NAME, GENERATION, TOKEN, process or self.process)

    def all_end(self) -> bool:
        return all(select.select((fd,), (), (), 20)[0] for fd in self.children.values())

    def all_live(self) -> bool:
        return not select.select(list(self.children.values()), (), (), 0)[0]

    def close(self) -> None:
        for fd in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)
        self.lose_leader()
        assert self.leader.stdout is not None
        self.leader.stdout.close()


@pytest.fixture
def families() -> Iterator[Callable[..., Family]]:
    with contextlib.ExitStack() as stack:

        def make(script: str, env: Mapping[str, str] = MINE, token: str = TOKEN) -> Family:
            family = Family(script, env, token)
            stack.callback(family.close)
            return family

        yield make


def pids(left: list[sweeping.Left]) -> set[int]:
    return {one.process.pid for one in left if one.how == sweeping.ENDED}


def test_all_that_comes_from_a_living_hand_is_killed_with_it(
    families: Callable[..., Family],
) -> None:
    hand = families(WORKER + DAEMON + BARE)

    left = sweeping.sweep([hand.source()])

    assert hand.all_end()
    assert hand.leader.wait(20) == -signal.SIGKILL
    assert pids(left) == {hand.leader.pid, *hand.children}
    assert {one.comm for one in left} <= {"sh", "setsid", "sleep"}  # they may just be starting
    assert {one.name for one in left} == {NAME}


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_all_that_a_dead_hand_left_is_killed(families: Callable[..., Family], reaped: bool) -> None:
    hand = families(WORKER + DAEMON + BARE)
    hand.leader.kill()
    os.waitid(os.P_PID, hand.leader.pid, os.WEXITED | os.WNOWAIT)
    if reaped:
        hand.leader.wait(20)

    left = sweeping.sweep([hand.source()])

    assert hand.all_end()
    assert pids(left) == set(hand.children)


def test_several_hands_are_swept_with_one_look(families: Callable[..., Family]) -> None:
    first = families(WORKER)
    other = families(WORKER, {**MINE, "HIOD_NAME": "other"}, f"{CREW}.other.3")
    first.lose_leader()
    other.lose_leader()

    left = sweeping.sweep(
        [first.source(), sweeping.Source("other", GENERATION, f"{CREW}.other.3", other.process)]
    )

    assert first.all_end()
    assert other.all_end()
    assert {(one.process.pid, one.name) for one in left} == {
        *((pid, NAME) for pid in first.children),
        *((pid, "other") for pid in other.children),
    }


def test_who_has_the_number_of_a_hand_now_is_no_hand(families: Callable[..., Family]) -> None:
    stranger = families(WORKER, {}, "")
    earlier = dataclasses.replace(stranger.process, started_at=stranger.process.started_at - 1)

    assert sweeping.sweep([stranger.source(earlier)]) == []

    assert stranger.leader.poll() is None
    assert stranger.all_live()


def test_whose_session_has_the_number_of_a_hand_by_chance_is_left_alone(
    families: Callable[..., Family],
) -> None:
    stranger = families(WORKER, {}, "")
    stranger.lose_leader()

    assert sweeping.sweep([stranger.source()]) == []

    assert stranger.all_live()


def test_one_who_surely_came_from_the_hand_vouches_for_its_session(
    families: Callable[..., Family],
) -> None:
    hand = families(WORKER + BARE)
    hand.lose_leader()
    assert sweeping.sweep([hand.source()._replace(name="else", token=f"{CREW}.else.3")]) == []
    assert hand.all_live()

    sweeping.sweep([hand.source()])

    assert hand.all_end()


def test_a_process_of_another_session_needs_both_marks_of_the_hand(
    families: Callable[..., Family],
) -> None:
    hand = families(WORKER)
    copied = families(WORKER, MINE, "")
    handed_on = families(WORKER, {}, TOKEN)
    later = families(WORKER, {**MINE, "HIOD_GENERATION": "4"}, f"{CREW}.nt.4")
    hand.lose_leader()

    assert pids(sweeping.sweep([hand.source()])) == set(hand.children)

    for one in (copied, handed_on, later):
        assert one.leader.poll() is None
        assert one.all_live()


def test_it_is_said_when_nobody_can_be_looked_for(families: Callable[..., Family]) -> None:
    hand = families(WORKER)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        left = sweeping.sweep([hand.source()])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert [(one.process, one.how) for one in left] == [
        (hand.process, "not looked for: Too many open files")
    ]
    assert hand.all_live()


def test_nobody_of_another_boot_is_looked_for(families: Callable[..., Family]) -> None:
    hand = families(WORKER)
    other_boot = dataclasses.replace(hand.process, boot_id="another")

    assert sweeping.sweep([hand.source(other_boot)]) == []
    assert hand.all_live()


def test_a_fifo_with_the_name_of_a_token_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "hiod-token"
    os.mkfifo(fifo)
    script = f"exec 5<>{fifo}; exec 6<{fifo}; exec 5<&6; exec 6<&-; echo; exec sleep 4242"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"\n"
        try:
            assert finding.token(one.pid) == ""
        finally:
            one.kill()
