"""Writes the man pages from the tables in the code: ``make docs``."""

from __future__ import annotations

import argparse
from pathlib import Path

from hiod import __version__
from hiod.boss.config import MAIN_KEYS
from hiod.boss.main import parser as boss_parser
from hiod.ctl import arguments
from hiod.rules.specs import KEYS
from hiod.rules.writing import APPLIES, shown_default

HERE = Path(__file__).parent
MAN = HERE / "man"

EXITS_CTL = (
    ("0", "done"),
    ("1", "refused, not allowed, or a hand waited for has failed"),
    ("2", "usage"),
    ("3", "no boss there, or it went away before it answered"),
    ("4", "timed out; what was asked stays asked"),
    ("130", "ended by Ctrl-C while it followed or waited; `top` ends with 0"),
)
EXITS_BOSS = (
    ("0", "stopped as asked"),
    ("1", "could not start, or ended by a fault"),
    ("2", "usage"),
    ("75", "its hands were left to the next boss"),
    (
        "78",
        "the crew files or the database cannot be used (damaged, or a newer hiod's); it said why",
    ),
)


def roff(text: str) -> str:
    """Return plain text, with `words` in bold, as roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = "".join(one if one.isascii() else f"\\[u{ord(one):04X}]" for one in text)
    parts = text.split("`")
    made = "".join(f"\\fB{part}\\fR" if at % 2 else part for at, part in enumerate(parts))
    return f"\\&{made}" if made.startswith((".", "\\(aq")) else made


def head(name: str, section: int, about: str) -> list[str]:
    title = f'.TH {name.upper()} {section} "" "hiod {__version__}" "hiod"'
    return [title, ".SH NAME", f"{roff(name)} \\- {roff(about)}"]


def entry(term: str, text: str) -> list[str]:
    return [".TP", roff(term), roff(text)]


def exits(rows: tuple[tuple[str, str], ...]) -> list[str]:
    return [".SH EXIT STATUS", *(line for row in rows for line in entry(f"`{row[0]}`", row[1]))]


def flags(parser: argparse.ArgumentParser) -> list[str]:
    """Return a parser's arguments as entries."""
    lines: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        names = ", ".join(f"`{option}`" for option in action.option_strings)
        value = str(action.metavar or action.dest)
        if not names:
            names = value
        elif action.nargs != 0:
            names += f" {value}"
        lines += entry(names, action.help or "")
    return lines


def hiodctl_1() -> str:
    lines = head("hiodctl", 1, "tell a boss what its crew should be, and see how it is")
    lines += [".SH SYNOPSIS", "\\fBhiodctl\\fR [\\fB\\-\\-socket\\fR PATH | \\fB\\-\\-user\\fR]"]
    lines += ["[\\fB\\-\\-json\\fR] [VERB] ...", ".SH DESCRIPTION"]
    lines += [
        roff(
            "Says one thing to the boss and prints what came of it; without a verb, `list`. The "
            "boss is looked for at `--socket`, else `$HIOD_SOCKET`, else with `--user` in this "
            "user's runtime directory, else at `/run/hiod/admin.sock`. NAME is a hand, the base "
            "name of counted hands, or a glob."
        ),
        ".SH VERBS",
    ]
    for verb, (about, configure) in arguments.VERBS.items():
        parser = argparse.ArgumentParser(prog=f"hiodctl {verb}", add_help=False)
        configure(parser)
        lines += [f".SS {roff(verb)}", roff(about[0].upper() + about[1:] + "."), *flags(parser)]
    lines += exits(EXITS_CTL)
    lines += [".SH SEE ALSO", roff("hiod(1), hiod.toml(5), hiod-crew(5), journalctl(1)")]
    return "\n".join(lines) + "\n"


def hiod_1() -> str:
    lines = head("hiod", 1, "keep a crew of cooperating processes running")
    lines += [".SH SYNOPSIS", "\\fBhiod\\fR run | check [OPTIONS]", ".SH DESCRIPTION"]
    lines += [
        roff(
            "`hiod run` is the boss: it starts the hands of its crew files, keeps them running by "
            "their restart policies, and can die and come back without any of them noticing. "
            "SIGTERM and SIGINT stop all hands in reverse order and end it; SIGUSR1 ends it and "
            "leaves them to the next boss; SIGHUP applies the crew files. `hiod check` reads the "
            "crew files and lists every problem."
        )
    ]
    whole = boss_parser()
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, parser in action.choices.items():
                lines += [f".SH HIOD {verb.upper()}", *flags(parser)]
    lines += exits(EXITS_BOSS)
    lines += [".SH FILES"]
    lines += entry("`/etc/hiod/hiod.toml`, `/etc/hiod/crew.d/*.toml`", "what the crew is to be")
    lines += entry("`/run/hiod`", "sockets and the lock")
    lines += entry("`/var/lib/hiod`", "the state database, the hands' own directories, log files")
    lines += [".SH SEE ALSO", roff("hiodctl(1), hiod.toml(5), hiod-crew(5)")]
    return "\n".join(lines) + "\n"


def keys_5(name: str, about: str, intro: str, keys: dict, *, applies: bool) -> str:  # type: ignore[type-arg]  # of Key
    lines = [*head(name, 5, about), ".SH DESCRIPTION", roff(intro), ".SH KEYS"]
    for dotted, known in keys.items():
        text = f"{known.doc}. Value: {known.kind.words}. Default: {shown_default(known)}."
        if applies:
            text += f" A change applies {APPLIES[known.applies]}."
        lines += entry(f"`{dotted}`", text)
    lines += [".SH SEE ALSO", roff("hiod(1), hiodctl(1)")]
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Return every generated file and what is to be in it."""
    return {
        MAN / "hiod.1": hiod_1(),
        MAN / "hiodctl.1": hiodctl_1(),
        MAN / "hiod.toml.5": keys_5(
            "hiod.toml",
            "how a boss runs, and who may tell it what",
            "TOML. May be absent. The table `defaults` holds keys of hiod-crew(5) that every hand "
            "starts from.",
            MAIN_KEYS,
            applies=False,
        ),
        MAN / "hiod-crew.5": keys_5(
            "hiod-crew",
            "the hands of a crew: files in crew.d",
            "TOML: a table `[hand.NAME]` for each definition, and `defaults` for those of the "
            "file. Later wins: built-in, `[defaults]` of hiod.toml, `defaults` of the file, the "
            "hand; tables merge key by key. Unknown keys are refused with the nearest known one.",
            KEYS,
            applies=True,
        ),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
