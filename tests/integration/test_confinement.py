"""What a process sees of its sandbox; a real one is seen under a real systemd."""

from __future__ import annotations

import os

from hiod.host.confinement import look
from hiod.rules.sandbox import Sandbox


def test_a_process_below_one_that_systemd_started_lays_nothing_to_a_unit() -> None:
    assert look({}) == Sandbox()
    assert look({"SYSTEMD_EXEC_PID": str(os.getppid())}) == Sandbox()


def test_a_process_that_systemd_started_sees_what_it_is_in() -> None:
    seen = look({"SYSTEMD_EXEC_PID": str(os.getpid())})

    assert seen.unit.endswith(".service")
    assert seen.over("/").at == "/"
    assert seen.over("/proc/self").kind == "proc"
    assert not seen.no_exec_memory
