from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.waiting import wait_until

from hiod.host import procs
from hiod.host.procs import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hiod.rules.records import ProcessId

# Says "go" once it is what the test wants it to be, and lives until its stdin closes.
TREE = """
import subprocess, sys, threading
child = "import sys; print('go', flush=True); sys.stdin.read()"
run = lambda code: subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
children = [run(child)]
threading.Thread(target=lambda: children.append(run(child))).start()
while len(children) < 2: pass
for one in children: one.stdout.readline()
print("go", flush=True)
sys.stdin.read()
for one in children: one.communicate()
"""
IDLE = "import sys; print('go', flush=True); sys.stdin.read()"
BUSY = "print('go', flush=True)\nwhile True: pass"


@contextmanager
def process(code: str = IDLE) -> Iterator[subprocess.Popen[str]]:
    """Run a Python that has said it is there; end it with all its children."""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdin is not None
        assert one.stdout is not None
        assert one.stdout.readline() == "go\n"
        try:
            yield one
        finally:
            one.send_signal(signal.SIGCONT)
            one.stdin.close()
            if code == BUSY:
                one.kill()
            one.wait(20)


def known(pid: int) -> ProcessId:
    process_id = procs.identify(pid)
    assert process_id is not None
    return process_id


def test_this_process_is_known_by_pid_start_and_boot() -> None:
    me = known(os.getpid())

    assert me.pid == os.getpid()
    assert me.started_at == procs.started_at(os.getpid())
    assert me.boot_id == procs.boot_id()
    assert len(me.boot_id) == 36
    assert procs.alive(me)


def test_a_name_that_looks_like_figures_confuses_nobody(tmp_path) -> None:
    odd = tmp_path / ") R 1 (2 3"
    odd.symlink_to("/bin/cat")
    with subprocess.Popen([str(odd)], stdin=subprocess.PIPE) as one:
        found = wait_until(lambda: procs.identify(one.pid))
        assert procs.descends(one.pid, os.getpid())
        assert one.stdin is not None
        one.stdin.close()

    assert found.started_at >= known(os.getpid()).started_at


def test_another_process_with_the_same_pid_is_another_process() -> None:
    with process() as one:
        real = known(one.pid)
        earlier = replace(real, started_at=real.started_at - 1)
        other_boot = replace(real, boot_id="0" * 36)

        for impostor in (earlier, other_boot):
            assert not procs.alive(impostor)
            assert procs.open_pidfd(impostor) is None


def test_a_pidfd_signals_its_process_and_tells_of_its_end() -> None:
    with process() as one:
        fd = procs.open_pidfd(known(one.pid))
        assert fd is not None
        try:
            assert not os.get_inheritable(fd)
            assert select.select([fd], [], [], 0)[0] == []
            assert not procs.ended(fd)

            assert procs.signal_pidfd(fd, signal.SIGKILL)

            assert select.select([fd], [], [], 20)[0] == [fd]
            assert procs.ended(fd)
            one.wait()
            assert procs.ended(fd)
            assert not procs.signal_pidfd(fd, signal.SIGKILL)
        finally:
            os.close(fd)


def test_a_zombie_has_ended_though_it_has_an_identity() -> None:
    with process() as one:
        real = known(one.pid)
        fd = procs.open_pidfd(real)
        assert fd is not None
        one.kill()
        select.select([fd], [], [], 20)
        os.close(fd)

        assert procs.identify(one.pid) == real
        assert not procs.alive(real)

        one.wait()
        assert procs.identify(one.pid) is None
        assert procs.started_at(one.pid) is None
        assert procs.open_pidfd(real) is None


def test_who_descends_from_whom() -> None:
    with process() as one:
        assert procs.descends(one.pid, os.getpid())
        assert not procs.descends(os.getpid(), one.pid)
        assert not procs.descends(one.pid, one.pid)
    assert not procs.descends(one.pid, os.getpid())


def test_a_close_look_sees_the_whole_tree_threads_children_too() -> None:
    watch = Watch()
    with process(TREE) as one:
        watch.add("web", known(one.pid), 0.0)

        sample = watch.look("web", 1.0)
        tree = watch.tree("web")

        assert sample.at == 1.0
        assert sample.status in "SR"
        assert sample.children == 2
        assert sample.threads in (1, 2)  # the second thread may just have ended
        assert sample.fds is not None
        assert sample.fds >= 3 + 4
        assert sample.rss_bytes > 3 * 4_000_000
        assert sample.cpu_s > 0.0
        assert tree[0].pid == one.pid
        assert {relative.ppid for relative in tree[1:]} == {one.pid}
        assert all("python" in relative.name for relative in tree)


def test_an_ordinary_look_leaves_out_what_is_dear() -> None:
    watch = Watch(period_s=5.0)
    with process(TREE) as one:
        watch.add("web", known(one.pid), 0.0)

        [(name, sample)] = watch.sample_due(5.0)

        assert name == "web"
        assert sample.fds is None
        assert sample.children is None
        assert 4_000_000 < sample.rss_bytes < watch.look("web", 6.0).rss_bytes


def test_cpu_is_the_share_of_a_core_since_the_look_before() -> None:
    watch = Watch()
    with process(BUSY) as one:
        busy = known(one.pid)
        watch.add("web", busy, 0.0)
        first = watch.look("web", 100.0)
        wait_until(lambda: watch.look("web", 100.1).cpu_s >= first.cpu_s + 0.2)

        again = watch.look("web", 100.1)  # too soon to say: the share stands
        later = watch.look("web", 110.0)

        assert first.cpu_percent == again.cpu_percent == 0.0
        assert later.cpu_percent == pytest.approx((later.cpu_s - first.cpu_s) * 10.0, rel=0.01)
        assert later.status == "R"


def test_a_stopped_process_is_seen_stopped() -> None:
    watch = Watch()
    with process() as one:
        watch.add("web", known(one.pid), 0.0)

        one.send_signal(signal.SIGSTOP)

        wait_until(lambda: watch.look("web", 1.0).status == "T")


def test_a_process_that_is_gone_is_said_to_be_gone() -> None:
    watch = Watch()
    with process() as one:
        watch.add("web", known(one.pid), 0.0, suspect=True)
    replaced = replace(known(os.getpid()), started_at=1)
    watch.add("db", replaced, 0.0, suspect=True)

    assert [sample.status for _, sample in watch.sample_due(1.0)] == ["X", "X"]
    assert watch.look("web", 2.0).status == "X"
    assert watch.tree("web") == []
    assert watch.tree("db") == []


def test_a_frozen_cgroup_is_seen(tmp_path, monkeypatch) -> None:
    own = procs._read(f"/proc/{os.getpid()}/cgroup")
    if b"0::/" not in own:
        pytest.skip("no cgroup v2 here")
    [path] = [line[3:].decode() for line in own.splitlines() if line.startswith(b"0::/")]
    group = tmp_path / path.lstrip("/")
    group.mkdir(parents=True, exist_ok=True)
    events = group / "cgroup.events"
    monkeypatch.setattr(procs, "_cgroup_root", lambda: str(tmp_path))
    watch = Watch()
    watch.add("web", known(os.getpid()), 0.0)

    events.write_text("populated 1\nfrozen 0\n")
    assert not watch.look("web", 1.0).frozen
    events.write_text("populated 1\nfrozen 1\n")
    assert watch.look("web", 2.0).frozen
    events.unlink()
    assert not watch.look("web", 3.0).frozen
