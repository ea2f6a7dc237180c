"""The story in a real journal: the boss's records and what hands print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from support.waiting import wait_until

from hiod.rules.story import STORY

if TYPE_CHECKING:
    from support.nspawn import Machine

SPEAKER = "echo out; echo bad >&2; echo '<4>careful'; exec sleep infinity"

BROKEN = """\
def doer(tymth, tock, **_):
    yield tock
    raise OSError("no luck")
"""
BROKEN_CREW = """\
[hand.broken]
doers = ["broken:doer"]
path = ["/opt/broken"]
restart = { policy = "never" }
"""


def test_what_happens_to_a_hand_is_told_with_fields_and_a_sentence(hiod: Machine) -> None:
    since = hiod.cursor()

    hiod.run("hiodctl", "restart", "ticker-0")

    told = hiod.until_told("HIOD_EVENT=hand.ready", "HIOD_HAND=ticker-0", since=since)
    assert told["MESSAGE"].startswith("ticker-0: ready after ")
    assert told["MESSAGE_ID"] == STORY["hand.ready"].message_id
    assert told["SYSLOG_IDENTIFIER"] == "hiod"
    assert told["_SYSTEMD_UNIT"] == "hiod.service"
    assert told["PRIORITY"] == "6"


def test_who_changed_the_crew_is_on_record(hiod: Machine) -> None:
    since = hiod.cursor()

    hiod.run("hiodctl", "restart", "ticker-0", user="alice")

    told = hiod.until_told("HIOD_EVENT=admin.done", since=since)
    assert told["HIOD_METHOD"] == "restart"
    assert told["HIOD_UID"] == hiod.out("id", "-u", "alice")
    assert told["HIOD_HAND"] == "ticker-0"


def test_the_journal_explains_an_event(hiod: Machine) -> None:
    hiod.run("hiodctl", "restart", "ticker-0")
    hiod.out("journalctl", "--sync")

    message_id = STORY["hand.registered"].message_id
    shown = hiod.out("journalctl", "-q", "-x", "-n", "1", f"MESSAGE_ID={message_id}")

    assert "Subject: ticker-" in shown
    assert STORY["hand.registered"].explain in shown.replace("░░ ", "").replace("\n", " ")


def test_what_a_command_prints_is_its_own_while_there_is_no_boss(hiod: Machine) -> None:
    since = hiod.cursor()
    script = "echo first; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo second >&2; sleep 9999"
    hiod.run("rm", "-f", "/var/lib/hiod/tmp/go")
    hiod.run("hiodctl", "add", "speaker", "--", "sh", "-c", script)
    drop_in = "/run/systemd/system/hiod.service.d/late.conf"
    hiod.write(drop_in, "[Service]\nRestartSec=1h\n")
    try:
        hiod.until_told("SYSLOG_IDENTIFIER=hiod-speaker", "MESSAGE=first", since=since)
        hiod.run("systemctl", "daemon-reload")
        hiod.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "hiod")
        wait_until(lambda: hiod.show("hiod", "SubState") == "auto-restart")

        hiod.run("touch", "/var/lib/hiod/tmp/go")

        told = hiod.until_told("SYSLOG_IDENTIFIER=hiod-speaker", "MESSAGE=second", since=since)
        assert told["_SYSTEMD_UNIT"] == "hiod.service"
        assert told["_SYSTEMD_CGROUP"].endswith("/hiod.service/hands/speaker")
        assert told["PRIORITY"] == "6"
        assert hiod.main_pid() == 0
    finally:
        hiod.run("rm", drop_in)
        hiod.run("systemctl", "daemon-reload")
        hiod.run("systemctl", "start", "hiod")
        hiod.run("hiodctl", "remove", "speaker")


def test_both_voices_go_on_when_the_journal_is_restarted(hiod: Machine) -> None:
    script = "while [ ! -e /tmp/speak ]; do sleep 0.05; done; echo spoken; exec sleep infinity"
    hiod.run("rm", "-f", "/var/lib/hiod/tmp/speak")
    hiod.run("hiodctl", "add", "speaker", "--", "sh", "-c", script)
    try:
        hiod.run("systemctl", "restart", "systemd-journald")
        since = hiod.cursor()

        hiod.run("touch", "/var/lib/hiod/tmp/speak")
        hiod.run("hiodctl", "restart", "ticker-0")

        hiod.until_told("SYSLOG_IDENTIFIER=hiod-speaker", "MESSAGE=spoken", since=since)
        hiod.until_told("HIOD_EVENT=hand.ready", "HIOD_HAND=ticker-0", since=since)
    finally:
        hiod.run("hiodctl", "remove", "speaker")


def test_a_hand_s_prefix_sets_its_priority_and_logs_shows_both_voices(hiod: Machine) -> None:
    since = hiod.cursor()
    hiod.run("hiodctl", "add", "speaker", "--", "sh", "-c", SPEAKER)
    try:
        told = hiod.until_told("SYSLOG_IDENTIFIER=hiod-speaker", "MESSAGE=careful", since=since)
        assert told["PRIORITY"] == "4"

        shown = hiod.out("hiodctl", "logs", "speaker")

        assert "hiod-speaker" in shown
        assert "bad" in shown
        assert "speaker: joined the crew" in shown
    finally:
        hiod.run("hiodctl", "remove", "speaker")


def test_the_traceback_of_a_hand_is_one_record_of_its_own(hiod: Machine) -> None:
    since = hiod.cursor()
    hiod.write("/opt/broken/broken.py", BROKEN)
    hiod.write("/etc/hiod/crew.d/broken.toml", BROKEN_CREW)
    try:
        hiod.run("hiodctl", "apply", check=False)

        told = hiod.until_told("SYSLOG_IDENTIFIER=hiod-broken", "PRIORITY=3", since=since)
        assert "Traceback" in told["MESSAGE"]
        assert "OSError: no luck" in told["MESSAGE"]
        failed = hiod.until_told("HIOD_EVENT=hand.failed", since=since)
        assert "no luck" in failed["MESSAGE"]
    finally:
        hiod.run("rm", "-r", "/etc/hiod/crew.d/broken.toml", "/opt/broken")
        hiod.run("hiodctl", "apply")


def test_events_and_the_journal_tell_the_same_story(hiod: Machine) -> None:
    hiod.run("hiodctl", "restart", "ticker-1")

    lines = hiod.out("hiodctl", "--json", "events", "ticker-1").splitlines()

    told = hiod.journal("HIOD_HAND=ticker-1")
    kept = [one["HIOD_EVENT"] for one in told if "HIOD_EVENT" in one and one["PRIORITY"] != "7"]
    last = [json.loads(line)["event"] for line in lines][-5:]
    assert kept[-5:] == last
