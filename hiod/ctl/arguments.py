"""What may be typed after `hiodctl`, and what it means.

Decides verbs, flags, their defaults and the sentence for each way of getting them wrong.  Leaves
the doing to `verbs`.  Invariant: what `parse` returns is complete; what it refuses is a
`UsageError` of one sentence, and nothing has been asked of anybody by then.

Only the parser of the verb in use is built: two dozen of them would take longer than the answer.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from hiod.errors import HiodError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

WAIT_S = 10.0
SHUTDOWN_S = 60.0
"""A crew takes longer than a hand: hands end in order, each with its time to."""


class UsageError(HiodError):
    """What was typed makes no sense; the message is one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print and exit with, in our words."""
        message = message.removeprefix("argument ")
        message = message.replace("the following arguments are required:", "missing")
        message = message.replace("expected one argument", "a value must follow")
        strange = message.removeprefix("unrecognized arguments: ")
        if strange != message:
            message = self._strange(strange.split(" ")[0])
        more = "" if message.endswith("?") else f"; see {self.prog} --help"
        raise UsageError(f"{self.prog}: {message}{more}")

    def _strange(self, word: str) -> str:
        if not word.startswith("-"):
            if self.prog == "hiodctl add":
                example = f"{self.prog} NAME -- {word} …"
                return f'what is "{word}" for? a command stands behind --, as in: {example}'
            return f'what is "{word}" for? {self.prog} takes no such word'
        return f"no option {word}{_nearest(word.partition('=')[0], self._option_string_actions)}"


def _nearest(word: str, known: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - only for a sentence

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    return f'; did you mean "{near[0]}"?' if near else ""


class _OneOf:
    """One of some words; what else there is in argparse for that speaks like a program."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __call__(self, text: str) -> str:
        if text not in self.words:
            *most, last = self.words
            known = f"{', '.join(most)} or {last}" if most else last
            raise argparse.ArgumentTypeError(f"{known}, please, not {text!r}")
        return text


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"seconds, please, not {text!r}") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more seconds, got {text}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0 on, please, not {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, please, not {text!r}")
    return int(text)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"KEY=VALUE, please, not {text!r}")
    return key, value


# ------------------------------------------------------------------- groups of flags


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", metavar="PATH", help="the boss's admin socket")
    parser.add_argument("--user", action="store_true", help="this user's own boss")
    parser.add_argument("--json", action="store_true", help="the boss's own words, times in UTC")
    parser.add_argument("-h", "--help", action="store_true", help="this text")


def _hands(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="a hand, a counted base, a glob")
    parser.add_argument(
        "-l", dest="labels", metavar="KEY=VALUE", type=_pair, action="append", default=[],
        help="hands with this label",
    )  # fmt: skip


def _wait(parser: argparse.ArgumentParser, default: str, *others: str) -> None:
    parser.add_argument(
        "--wait", metavar="STATE", type=_OneOf(default, *others), default=default,
        help=f"wait until {' or '.join((default, *others))} (default: {default})",
    )  # fmt: skip
    parser.add_argument(
        "--no-wait", dest="wait", action="store_const", const=None, help="return when recorded"
    )
    _timeout(parser)


def _timeout(parser: argparse.ArgumentParser, default: float = WAIT_S) -> None:
    parser.add_argument(
        "--timeout", metavar="S", type=_seconds, default=default,
        help=f"how long to wait, in seconds (default: {default:g})",
    )  # fmt: skip


# ------------------------------------------------------------------- the verbs


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="name of the new hand")
    parser.add_argument(
        "--doer", metavar="REF", action="append", help="module:attribute; repeatable"
    )
    parser.add_argument(
        "--command", action="store_true", help="run the words after -- instead of doers"
    )
    parser.add_argument("--count", metavar="N", type=_count, help="so many of it: NAME-0 …")
    parser.add_argument("--env", metavar="K=V", type=_pair, action="append", help="repeatable")
    parser.add_argument("--label", metavar="K=V", type=_pair, action="append", help="repeatable")
    parser.add_argument(
        "--after", metavar="NAME", action="append", help="start after it; repeatable"
    )
    parser.add_argument("--path", metavar="DIR", action="append", help="in front of sys.path")
    parser.add_argument("--cwd", metavar="DIR", help="working directory")
    parser.add_argument("--python", metavar="PATH", help="another interpreter")
    parser.add_argument("--tock", metavar="S", type=_seconds, help="seconds between cycles")
    parser.add_argument(
        "--ready", metavar="BY", help="register, memo, notify, exit, start or connect=ADDRESS"
    )
    parser.add_argument("--restart", metavar="POLICY", help="always, on-failure or never")
    parser.add_argument("--log", metavar="WHERE", help="journal, inherit, null or a path")
    parser.add_argument("--no-start", action="store_true", help="add it stopped")
    parser.add_argument("-f", "--file", metavar="FILE", help="TOML or JSON; - is standard input")
    parser.add_argument("--replace", action="store_true", help="in place of another of that name")
    _wait(parser, "ready", "done")


def _list(parser: argparse.ArgumentParser) -> None:
    _hands(parser)


def _start(parser: argparse.ArgumentParser) -> None:
    _hands(parser)
    _wait(parser, "ready", "done")


def _gone(parser: argparse.ArgumentParser) -> None:
    _hands(parser)
    _wait(parser, "gone")


def _restart(parser: argparse.ArgumentParser) -> None:
    _start(parser)
    parser.add_argument(
        "--rolling", metavar="N", nargs="?", const=1, type=_positive,
        help="so many at a time (1), each ready before the next; the first that fails ends it",
    )  # fmt: skip


def _scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a counted hand")
    parser.add_argument("count", metavar="COUNT", type=_count)
    _wait(parser, "ready", "done")


def _signal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("signal", metavar="SIGNAL", help="HUP, USR1, … or a number")
    _hands(parser)


def _send(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a hand, a counted base, a glob")
    parser.add_argument("tag", metavar="TAG", help="4 to 16 of A-Z")
    parser.add_argument(
        "load", metavar="LOAD", nargs="?", default="{}", help="a JSON object; - is standard input"
    )


def _wait_for(parser: argparse.ArgumentParser) -> None:
    _hands(parser)
    parser.add_argument(
        "--for", dest="goal", metavar="STATE", default="ready",
        type=_OneOf("ready", "done", "stopped", "gone"),
        help="ready, done, stopped or gone (default: ready)",
    )  # fmt: skip
    _timeout(parser)


def _apply(parser: argparse.ArgumentParser) -> None:
    _wait(parser, "ready")


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a hand")
    parser.add_argument("-f", "--follow", action="store_true", help="and what comes")
    parser.add_argument("-n", "--lines", metavar="N", type=_count, default=50, help="last N (50)")


def _events(parser: argparse.ArgumentParser) -> None:
    _hands(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="and what comes")
    parser.add_argument("-n", "--lines", metavar="N", type=_count, default=50, help="last N (50)")
    parser.add_argument("--since", metavar="SEQ", type=_count, help="after this number")


def _top(parser: argparse.ArgumentParser) -> None:
    _hands(parser)
    parser.add_argument("-s", dest="sort", metavar="KEY", default="c", type=_OneOf(*"cmlrn"),
                        help="sort by c CPU, m memory, l lag, r restarts, n name")  # fmt: skip
    parser.add_argument("-d", dest="delay", metavar="S", type=_seconds, default=1.0,
                        help="seconds between looks (1)")  # fmt: skip


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-dir", metavar="DIR", help="where hiod.toml and crew.d are")


def _try(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", metavar="REF|FILE", nargs="+", help="module:attribute, or crew files"
    )


def _status(parser: argparse.ArgumentParser) -> None:
    _hands(parser)
    parser.add_argument("-n", "--lines", metavar="N", type=_count, default=5, help="log lines (5)")


def _shutdown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-wait", dest="wait", action="store_false", help="return when the boss has agreed"
    )
    parser.add_argument(
        "--keep-hands", action="store_true", help="let the hands live on, for the next boss"
    )
    _timeout(parser, SHUTDOWN_S)


def _nothing(parser: argparse.ArgumentParser) -> None:
    del parser


VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "list": ("the crew at a glance", _list),
    "status": ("all about a hand", _status),
    "why": ("what is wrong, and what would help", _list),
    "events": ("what happened; -f: and what happens", _events),
    "logs": ("what a hand printed", _logs),
    "top": ("the list, live", _top),
    "add": ("add a hand", _add),
    "remove": ("stop hands and take them out of the crew", _gone),
    "start": ("want hands up", _start),
    "stop": ("want hands down", _gone),
    "restart": ("end hands and start them again", _restart),
    "scale": ("so many instances of a counted hand", _scale),
    "signal": ("send hands a signal", _signal),
    "send": ("send hands a memo", _send),
    "wait": ("wait until hands are ready, done, stopped or gone", _wait_for),
    "plan": ("what apply would change", _nothing),
    "apply": ("make the crew what the crew files say", _apply),
    "check": ("are the crew files good? needs no boss", _check),
    "export": ("the crew as a crew file", _list),
    "about": ("the boss: version, paths, limits, your role", _nothing),
    "ping": ("is the boss there?", _nothing),
    "try": ("a throw-away boss for these doers or crew files", _try),
    "shutdown": ("stop all hands and end the boss", _shutdown),
}

_ELSEWHERE = {
    "tail": "logs -f NAME",
    "reload": "apply",
    "reread": "plan",
    "update": "apply",
    "ps": "list",
    "pid": "status NAME",
    "quit": "shutdown",
    "incr": "scale NAME COUNT",
    "decr": "scale NAME COUNT",
    "kill": "signal KILL NAME",
    "rm": "remove NAME",
}
"""What other supervisors call it."""

NEED_HANDS = frozenset({"status", "remove", "start", "stop", "restart", "signal", "wait"})


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the words after ``hiodctl``.

    Returns:
        A namespace with ``verb``, ``socket``, ``user``, ``json`` and what the verb has of its own;
        ``--help`` and ``--version`` are the verbs ``help`` and ``version``, with their text.

    Raises:
        UsageError: they make no sense.
    """
    for word in argv:
        _check_text(word)
    verb, rest = _find_verb(argv)
    if verb == "help":
        return argparse.Namespace(verb=verb, text=overview())
    if verb == "version":
        from hiod import __version__  # noqa: PLC0415 - only when asked

        return argparse.Namespace(verb=verb, text=f"hiodctl {__version__}\n")
    return _parse_verb(verb, rest)


def _check_text(word: str) -> None:
    """Refuse bytes that are no text: nothing the boss is told can hold them."""
    raw = word.encode(errors="surrogateescape")
    shown = raw.decode(errors="backslashreplace")
    if shown != word:
        raise UsageError(f'hiodctl: the argument "{shown}" is not UTF-8 text; hiod knows no other')


def overview() -> str:
    """Return what ``hiodctl --help`` prints."""
    lines = ["usage: hiodctl [--socket PATH | --user] [--json] VERB …", ""]
    lines += [f"  {verb:<9} {about}" for verb, (about, _) in VERBS.items()]
    lines += [
        "",
        "NAME is a hand, the base name of counted hands, or a glob; -l KEY=VALUE chooses",
        "by label.",
        "Without a verb: list.  More on one: hiodctl VERB --help",
        "Exit: 0 done, 1 refused or not allowed, 2 usage, 3 no boss there, 4 timed out.",
    ]
    return "\n".join(lines) + "\n"


def _find_verb(argv: Sequence[str]) -> tuple[str, list[str]]:
    words = list(argv)
    skip = False
    for index, word in enumerate(words):
        if skip:
            skip = False
        elif word == "--socket":
            skip = True
        elif word in ("-h", "--help", "help"):
            verb = next((other for other in words[index + 1 :] if other in VERBS), None)
            return (verb, ["--help"]) if verb else ("help", [])
        elif word in ("-V", "--version"):
            return "version", []
        elif not word.startswith("-"):
            if word not in VERBS:
                raise UsageError(_no_such_verb(word))
            return word, words[:index] + words[index + 1 :]
    return "list", words


def _no_such_verb(word: str) -> str:
    if word in _ELSEWHERE:
        return f'hiodctl: no verb "{word}"; here it is: hiodctl {_ELSEWHERE[word]}'
    return f'hiodctl: no verb "{word}"{_nearest(word.lower(), VERBS) or "; see hiodctl --help"}'


def _parse_verb(verb: str, rest: list[str]) -> argparse.Namespace:
    about, configure = VERBS[verb]
    # A tail after "--" is a command of its own; argparse would mix it with what stands before.
    tail: list[str] | None = None
    if verb == "add" and "--" in rest:
        cut = rest.index("--")
        rest, tail = rest[:cut], rest[cut + 1 :]
    # "--rolling web" means one at a time, not "web" at a time.
    rest = ["--rolling=1" if word == "--rolling" else word for word in rest]
    help_wanted = "-h" in rest or "--help" in rest
    parser = _Parser(
        prog=f"hiodctl {verb}", description=about, allow_abbrev=False, add_help=False,
        # Of each flag a formatter is made; for one that is never used the terminal's width is not
        # worth asking for: what asks takes 2 ms to import.
        formatter_class=argparse.HelpFormatter if help_wanted
        else partial(argparse.HelpFormatter, width=80),
    )  # fmt: skip
    _common(parser)
    configure(parser)
    if help_wanted:
        return argparse.Namespace(verb="help", text=parser.format_help())
    # Unless it is given, mixing flags and names costs the making of a usage nobody reads: 8 ms.
    parser.usage = ""
    parsed = parser.parse_intermixed_args(rest)
    parsed.verb = verb
    if parsed.socket == "":
        raise UsageError(f"hiodctl {verb}: --socket is empty; give a path, or leave it out")
    if parsed.socket and parsed.user:
        raise UsageError(f"hiodctl {verb}: --socket and --user name two bosses; give one of them")
    if verb in NEED_HANDS and not parsed.names and not parsed.labels:
        raise UsageError(f"hiodctl {verb}: which hands? give a NAME, '*' for all, or -l KEY=VALUE")
    if verb == "add":
        parsed.argv = tail
        _check_add(parsed)
    return parsed


def _check_add(parsed: argparse.Namespace) -> None:
    if parsed.command and not parsed.argv:
        raise UsageError("hiodctl add: --command needs the command after --")
    if parsed.argv is not None and not parsed.argv:
        raise UsageError("hiodctl add: nothing stands after --; a command must")
    if parsed.argv and parsed.doer:
        raise UsageError("hiodctl add: a hand has doers or a command, not both")
    if not parsed.file:
        if not parsed.name:
            raise UsageError("hiodctl add: what is the hand to be called? give a NAME, or -f FILE")
        if not parsed.doer and not parsed.argv:
            raise UsageError(
                f"hiodctl add: what is {parsed.name} to run? give --doer REF,"
                " or --command -- WORD …, or -f FILE"
            )


def selection(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the request parameters that say which hands are meant."""
    chosen: dict[str, Any] = {}
    if parsed.names:
        chosen["names"] = parsed.names
    if parsed.labels:
        chosen["labels"] = dict(parsed.labels)
    return chosen
