"""`hiodctl logs` with a real journal: over restarts of the boss, and for whom it is not."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from support.nspawn import Machine

# Says how often it was signalled, at once: a shell's trap does not wait for `wait`.
SAYS = "n=0; trap 'n=$((n+1)); echo heard $n' USR1; sleep 1000 & echo up; while :; do wait; done"


def test_logs_follow_the_journal_over_a_restart_of_the_boss_and_end_by_ctrl_c(
    hiod: Machine,
) -> None:
    hiod.run("hiodctl", "add", "speaker", "--", "/bin/sh", "-c", SAYS)
    try:
        with hiod.start("hiodctl", "logs", "-f", "speaker") as following:
            _read_until(following, "up")
            hiod.run("hiodctl", "signal", "USR1", "speaker")
            _read_until(following, "heard 1")

            hiod.run("systemctl", "restart", "hiod")
            hiod.run("hiodctl", "signal", "USR1", "speaker")
            _read_until(following, "heard 2")

            following.send_signal(signal.SIGINT)
            code = following.wait(20)
        # It became journalctl: some die of it, later ones end.
        assert code in (-signal.SIGINT, 130, 0)
    finally:
        hiod.run("hiodctl", "remove", "speaker")


def _read_until(following: subprocess.Popen[str], word: str) -> None:
    assert following.stdout is not None
    assert following.stderr is not None
    for line in following.stdout:
        if line.endswith(f": {word}\n"):
            return
    raise AssertionError(f"it ended before it showed {word}: {following.stderr.read()}")


def test_who_may_not_read_the_journal_is_told_which_groups_may(hiod: Machine) -> None:
    told = hiod.run("hiodctl", "logs", "ticker-0", user="alice", check=False)

    assert told.stdout == ""
    assert "systemd-journal" in told.stderr
