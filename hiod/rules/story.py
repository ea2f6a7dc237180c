"""The story the journal tells: every event, its sentence, and what to say when asked.

One table gives the journal's ``MESSAGE``, its ``MESSAGE_ID`` and level, the journal catalog and
``docs/events.md``. An event that is not here cannot be told; a test compares the table with the
literals in the source.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Told:
    """How one kind of event is told.

    Attributes:
        level: debug, info, warning or error.
        message_id: 32 hex digits, the journal's MESSAGE_ID; never used for anything else.
        template: the sentence, facts in braces; ``{hands:hand}`` is ``1 hand``, ``2 hands``.
        explain: what it means and what to do, for the journal catalog and the docs.
    """

    level: str
    message_id: str
    template: str
    explain: str


STORY: dict[str, Told] = {
    "boss.started": Told(
        "info",
        "7236bdbb68cb4a858ffb8d748ee30259",
        "boss started: hiod {version}, pid {pid}, {mode}",
        "The boss process has started. It has taken its locks and read its state; hands are started or adopted next.",
    ),
    "boss.ready": Told(
        "info",
        "2edbfe8ed8b44d20b7076a5a69f0dd00",
        "boss ready: {summary}",
        "Every hand that was to be started at once has been started, and adopted hands have answered or had their time to.",
    ),
    "boss.stopping": Told(
        "info",
        "6c046270fc6f481f96a9f79131ddb42c",
        "boss stopping: {why}",
        "The boss is ending. Unless it leaves its hands to the next boss, they are stopped in reverse order first.",
    ),
    "boss.stopped": Told(
        "info",
        "68c44b25b8c8427ba840623096de8a81",
        "boss stopped: {how}",
        "The boss has ended.",
    ),
    "boss.adopted": Told(
        "info",
        "e311447a61714477a745b8da9a6b15e5",
        "adopted {adopted:hand} of an earlier boss; {ended} had ended meanwhile",
        "A boss found living hands of an earlier boss and went on with them. None was restarted.",
    ),
    "boss.ungrouped": Told(
        "warning",
        "5a74bad500b246ba952515416526c76a",
        "hands get no control groups of their own: {why}",
        "The service manager left its control group to the boss, which cannot divide it. What a hand leaves behind is then ended one by one instead of at once. In a unit: if Slice= was changed, ReadWritePaths= must name the unit's new control group.",
    ),
    "boss.door_gone": Told(
        "warning",
        "eb54321617f340288ada95e9bc4e34d8",
        "{path} was removed under the running boss: {how}",
        "Somebody, or something that cleans up, removed a socket from the runtime directory. The boss looks every few seconds and makes what it can again; memos to it waited with their senders. Find out who did it, and keep the runtime directory out of its reach.",
    ),
    "boss.litter": Told(
        "warning",
        "68427eae28664538a2d1f68d28fa7b21",
        "{path} cannot be removed: {why}; it is left there",
        "The boss is done with a socket of its own and may not remove it, or something else lies in its place. Nothing waits for it: the next boss, or the next hand of that name, replaces what it can. Find out who changed the runtime directory, and remove it by hand.",
    ),
    "boss.shut_out": Told(
        "error",
        "853eb6d11f2b402face7f84fb61d8a17",
        "the runtime directory was removed or taken under the running boss: {why}",
        "The boss cannot be reached any more, and cannot make its directory or its locks again. Its hands work on. Make the directory for its user, or restart the boss where it is under systemd; if another boss has it, stop one of them.",
    ),
    "launcher.started": Told(
        "info",
        "6669baa5211542938ac65c24261e7bb1",
        "launcher {launcher} started, pid {pid}",
        "A launcher is the parent process of hands; each boss starts its own.",
    ),
    "launcher.gone": Told(
        "warning",
        "0ba35356d14c4d0088fb34a225ef2d87",
        "launcher {launcher} is gone, pid {pid}; {hands:hand} left alive",
        "A launcher process ended while it had hands. They go on; how they end can no longer be known.",
    ),
    "launcher.silent": Told(
        "warning",
        "3c6375cd421d45c69f49035018f96bce",
        "launcher {launcher} does not answer, pid {pid}; its hands are kept without it until it does",
        "A launcher of an earlier boss lives and says nothing: it is stopped, or starved. Its hands go on and are watched. If one ends meanwhile, how is unknown. What it has to tell is taken in as soon as it speaks.",
    ),
    "launcher.heard": Told(
        "info",
        "64dcceb23ce14e55bcbe4da1a78bdc81",
        "launcher {launcher} answers again, pid {pid}, with {hands:hand}",
        "A launcher that did not answer when the boss started has told what it knows.",
    ),
    "launcher.stray": Told(
        "warning",
        "b9b2ee733c564859a7724ce2ac78119b",
        "process {pid} ({comm}) was left behind by {left_by}; {how}",
        "A process outlived the hand that made it. It was ended, unless it runs as a user whose processes the boss may not signal, or nobody knows whose it was: end it by hand then.",
    ),
    "process.unknown": Told(
        "warning",
        "2d9b65ba364d4ef98bdf9fbd59c57a91",
        "process {pid} says it is {claims}, which this crew does not know; left alone",
        "A living process carries the marks of a hand that the state database does not know. It is never killed on suspicion.",
    ),
    "hand.added": Told(
        "info",
        "7206708c09094370a8c655cdd68e7b82",
        "{hand}: joined the crew, asked by {by}",
        "A hand was added to the crew, by a crew file or at runtime.",
    ),
    "hand.removed": Told(
        "info",
        "ccf61a9f317d4c59a93518113c284b7b",
        "{hand}: left the crew, asked by {by}",
        "A hand was removed from the crew; its mailbox is gone.",
    ),
    "hand.waiting": Told(
        "info",
        "1b57828b43ec41c4a4ca6a921129075e",
        "{hand}: waits {reason}",
        "The hand comes after others (after = …) that are not there yet.",
    ),
    "hand.spawned": Told(
        "info",
        "4dea3fdbb2414451a14ab267056dc53b",
        "{hand}: process {pid}, generation {generation}",
        "A process was made for the hand.",
    ),
    "hand.registered": Told(
        "info",
        "55aa61982a9f4bd8b0965fdf4938cc44",
        "{hand}: registered",
        "The hand's REG memo came from the process that was started for it.",
    ),
    "hand.ready": Told(
        "info",
        "ed174ed51f0b4817b7209aab6803bc73",
        "{hand}: ready after {took_s} s ({by})",
        "The hand is ready, by its own word or because it answered.",
    ),
    "hand.running": Told(
        "info",
        "a8df3b36c9514ecaa140fbc51843ba54",
        "{hand}: running; nobody can say whether it is ready",
        'The hand\'s process is there. With ready.by = "start" nothing more can be known.',
    ),
    "hand.degraded": Told(
        "warning",
        "9f6047c1afbc40f1880f022742de5fd5",
        "{hand}: degraded, {verdict}: {why}",
        "A witness says the hand is not well. See hiodctl why.",
    ),
    "hand.recovered": Told(
        "info",
        "3d6afe4ca9df437889fc6198ad680fda",
        "{hand}: well again after {took_s} s",
        "The witnesses say the hand is well again.",
    ),
    "hand.stopping": Told(
        "info",
        "72504d5545d844e0a8dbc6097f4883a4",
        "{hand}: asked to end: {why}",
        "The hand was asked to end: by END if it is registered, else by its stop signal.",
    ),
    "hand.pressed": Told(
        "warning",
        "34cbfa235fa34aef900a1d3a15d07c9a",
        "{hand}: did not end in {waited_s} s; sent {signal}",
        "The hand did not end when asked, so it was told more firmly.",
    ),
    "hand.unkillable": Told(
        "error",
        "611874e14e974109a40daca24bb76f4c",
        "{hand}: still there {waited_s} s after SIGKILL",
        "A process does not end on SIGKILL: it hangs in the kernel, usually on a disk or a network file system.",
    ),
    "hand.stopped": Told(
        "info",
        "6c76ccc5d32747e3a6936bb0dca4952f",
        "{hand}: stopped ({how}) after {took_s} s",
        "The hand ended as asked.",
    ),
    "hand.ended": Told(
        "info",
        "624e1c2fe9d740cd9bd6ed90225b33f5",
        "{hand}: ended by itself, {how}; not started again ({why})",
        "The hand ended and its restart policy lets it rest.",
    ),
    "hand.backing_off": Told(
        "warning",
        "ae92c6bb031244929d294234d02eefa0",
        "{hand}: {cause}{note}; try {attempt} of {limit} in {delay_s} s",
        "The hand ended by itself and will be started again after a pause.",
    ),
    "hand.gave_up": Told(
        "error",
        "4cce2c08a39c49e1b6a14e2ec7439a95",
        "{hand}: gave up: {failures:failure} in {window_s} s (limit {limit}); last: {how}{note}",
        "The hand ended too often. It stays failed until somebody starts it: hiodctl start NAME. See hiodctl why NAME.",
    ),
    "hand.failed": Told(
        "error",
        "b5eea754aa90470eaa49cbb2abdce745",
        "{hand}: failed: {how}{note}; not started again ({why})",
        "The hand failed and its restart policy is not to try again.",
    ),
    "hand.not_ready": Told(
        "warning",
        "686bf89b006244979bfe9b7ca1ef347a",
        "{hand}: not ready in {timeout_s} s (ready.by = {by}): {why}",
        "The hand did not become ready in time, which counts as a failure. Of Doers the Python stack is asked for and kept with the end: hiodctl why shows where it hung.",
    ),
    "hand.refused": Told(
        "error",
        "5f425ec8792f4eaa88f64a9fea90ea5e",
        "{hand}: cannot be started: {message}",
        "The machine refused to start the hand's process.",
    ),
    "hand.restarting": Told(
        "info",
        "0130cdfdfbc9494581a5645c36db6b6d",
        "{hand}: restart asked by {by}: {why}",
        "The hand is ended and started again.",
    ),
    "hand.recycled": Told(
        "info",
        "a693a6394fb540af813a73662fbaf241",
        "{hand}: recycled after {uptime_s} s (limit_s)",
        "The hand reached its limit_s and is started anew; this is no failure.",
    ),
    "hand.adopted": Told(
        "info",
        "a5c776556b124928b0f87b188f97c071",
        "{hand}: adopted, process {pid}, generation {generation}",
        "The hand lived through the death of an earlier boss.",
    ),
    "hand.lost": Told(
        "warning",
        "a0296d6de98845c2934adfcccbc25d4e",
        "{hand}: ended while there was no boss, {how}",
        "The hand ended while no boss was there; its launcher remembered how, or nobody knows.",
    ),
    "hand.revised": Told(
        "info",
        "85b0b9196c8441aaa6e9551d7c8cc19b",
        "{hand}: definition changed by {by}: {keys}",
        "The hand's definition changed; the keys say what.",
    ),
    "hand.dead_letters": Told(
        "warning",
        "98263d6117534653ad63f1200fdd8e76",
        "{hand}: {count:memo} given up: {why}",
        "Memos could not be delivered and were counted as dead letters. What hiod itself says to hands is not counted.",
    ),
    "hand.cut_off": Told(
        "error",
        "c385a2631fff4824ae5d1561122e6ed3",
        "{hand}: no memo reaches it: its mailbox {path} was removed; hiodctl restart {hand} makes it anew",
        "Somebody, or something that cleans up, removed the hand's mailbox from the runtime directory while the hand lives. It works on and can write to others; what others write to it waits with them. A restart of the hand gives it another mailbox at the same path.",
    ),
    "hand.memo": Told(
        "info",
        "502458853ff04e1ab0843ca0091d4e9d",
        "{hand}: memo {tag} to the boss",
        "A hand sent a memo of its own to the boss.",
    ),
    "hand.flood": Told(
        "warning",
        "6f0c3b1e9a5d4c27b8e41d7f52a9c360",
        "{hand}: {count:memo} to the boss not kept, more than {rate} a second",
        "A hand sends the boss more memos of its own than are worth an event each; those beyond the rate are counted and let go, so that they do not push out what else happened.",
    ),
    "hand.status": Told(
        "debug",
        "deec2327834944f39e6679bc467a8278",
        "{hand}: says {status}",
        "The hand changed its status text.",
    ),
    "hand.dumped": Told(
        "warning",
        "aeef631ff80944be85e50b5d7f4c48a0",
        "{hand}: stack dumped: {where}",
        "The hand was stuck; its Python stack is kept with the event.",
    ),
    "memo.rejected": Told(
        "warning",
        "27e0515e721b48cab274a49cc43cd3ae",
        "a memo from {source} was rejected: {why}",
        "A memo on the boss's socket did not count: the kernel says somebody else sent it, or it makes no sense.",
    ),
    "admin.done": Told(
        "info",
        "a51d7f9c554e450da5a69cb74135c497",
        "{method} by {user}: {outcome}",
        "Somebody changed the crew through the admin socket. HIOD_UID, HIOD_PID and HIOD_METHOD say who and what.",
    ),
    "admin.denied": Told(
        "warning",
        "c136f849773043b181a5833e6b4583bb",
        "{method} refused to {user}: {why}",
        "Somebody asked for what their role does not allow, or for what cannot be done.",
    ),
    "admin.unknown": Told(
        "warning",
        "4bed11c9f4e0a69ab51048a9fa00bcaa",
        "the files let in {who}, whom this machine does not know; nobody is let in by that",
        "A user or group named in [admin] of hiod.toml does not exist on this machine. Correct the name, or make the user or group and start the boss again.",
    ),
    "admin.faulted": Told(
        "error",
        "52ccf6b133c1485db1e820cd3b627813",
        "a request for {method} could not be served: {why}",
        "A defect: please report it with the journal around this record.",
    ),
    "config.pending": Told(
        "warning",
        "d8bbbec5ea1741249961e1ddff4d1e70",
        "{count:change} pending in the crew files; see hiodctl plan",
        "The crew files differ from the crew that runs. hiodctl plan shows how, hiodctl apply does it.",
    ),
    "config.absent": Told(
        "warning",
        "d0fc1dcae36a41afae58d0547bf623bc",
        "{folder} is not there: the crew begins empty",
        "The configuration directory that was named does not exist. hiodctl apply is refused until it"
        " does; hands can be added with hiodctl add.",
    ),
    "config.broken": Told(
        "error",
        "1bff2393265449a08d27179600149c04",
        "the crew files are broken: {problems}",
        "The crew files cannot be used. The running crew is kept as it is.",
    ),
    "config.reloaded": Told(
        "info",
        "78c2e2d5c6644700b14811ff5528a522",
        "crew files applied: {summary}",
        "Definitions are now what the files say.",
    ),
    "store.write_refused": Told(
        "error",
        "a80de4b66eb248c79b24b320688273d3",
        "state cannot be written: {why}; the crew is kept running, changes are refused",
        "The state database refuses to be written, usually because the disk is full.",
    ),
    "store.read_refused": Told(
        "error",
        "5b0c8f6a6f2e4d0fb1a7d3f2c9e4867b",
        "state cannot be read: {why}; earlier ends and events are not shown",
        "The state database cannot be read: the disk fails, or somebody changed the file. The crew is"
        " kept running; hiodctl status and why show what the boss knows without it.",
    ),
    "store.recovered": Told(
        "info",
        "d2b577ff6c4a4d9a97f1e0070422a0bb",
        "state can be written again",
        "The state database takes writes again.",
    ),
}


class _Facts(dict[str, Any]):
    """Facts as a person reads them: ``0.031``, ``10``; one that is not there is a question mark."""

    def __missing__(self, key: str) -> str:
        return "?"

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        if not isinstance(value, float):
            return value
        text = f"{value:.3f}"
        return text.rstrip("0").rstrip(".") if "." in text else text


class _Sentence(string.Formatter):
    """Formats facts; what is counted is written behind the colon, as one of it is called."""

    def format_field(self, value: object, format_spec: str) -> str:
        if not format_spec:
            return str(value)
        return f"{value} {format_spec}{'' if value == 1 else 's'}"


_FORMAT = _Sentence()


def tell(event: str, facts: Mapping[str, Any]) -> str:
    """Return the sentence for ``event``; the literal itself if the table does not know it."""
    told = STORY.get(event)
    if told is None:
        return event
    return _FORMAT.vformat(told.template, (), _Facts(facts))
