"""Writes the shells' completions of hiodctl from the table of its verbs: ``make docs``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

from hiod.ctl import arguments

COMPLETION = Path(__file__).parent.parent / "etc" / "completion"

HAND, FILES, DIRECTORIES, NOTHING = "hand", "files", "directories", ""
SIGNALS = ("HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH")

VALUES: dict[str, str | tuple[str, ...]] = {
    "--socket": FILES,
    "--file": FILES,
    "--python": FILES,
    "--cwd": DIRECTORIES,
    "--path": DIRECTORIES,
    "--config-dir": DIRECTORIES,
    "--after": HAND,
    "--log": ("journal", "inherit", "null"),
    "--ready": ("register", "memo", "notify", "exit", "start", "connect="),
    "--restart": ("always", "on-failure", "never"),
}
"""What stands after an option, by its long name; words of one choice are taken from its type."""

WORDS: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "scale": (HAND, NOTHING),
    "logs": (HAND, NOTHING),
    "send": (HAND, NOTHING),
    "signal": (SIGNALS, HAND),
    "try": (FILES,),
    "add": (NOTHING,),
}
"""What a verb's words are, the last of them for all that follow; hands, where nothing is said."""


class Option(NamedTuple):
    """One option of a verb.

    Attributes:
        names: ``-f``, ``--file``.
        about: a sentence.
        value: what its value is called, None without one.
        optional: whether the value may be left out; it then stands behind ``=`` only.
        again: whether it may be given again.
        kind: what its value is: a kind above, or the words there are.
    """

    names: tuple[str, ...]
    about: str
    value: str | None
    optional: bool
    again: bool
    kind: str | tuple[str, ...]


def parser_of(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    arguments._common(parser)
    arguments.VERBS[verb][1](parser)
    return parser


def options_of(verb: str) -> list[Option]:
    return [
        Option(
            tuple(action.option_strings),
            action.help or "",
            None if action.nargs == 0 else str(action.metavar or action.dest),
            action.nargs == "?",
            isinstance(action, argparse._AppendAction),
            getattr(action.type, "words", None) or VALUES.get(action.option_strings[-1], NOTHING),
        )
        for action in parser_of(verb)._actions
        if action.option_strings
    ]


def words_of(verb: str) -> tuple[str | tuple[str, ...], ...]:
    takes = any(not action.option_strings for action in parser_of(verb)._actions)
    return WORDS.get(verb, (HAND,)) if takes else (NOTHING,)


# ---------------------------------------------------------------------------- bash

BASH = r"""# Completion of hiodctl for bash. Written by `make docs`; do not edit.
_hiodctl_give() {
    mapfile -t COMPREPLY < <(compgen "$@" -- "$word")
}
_hiodctl_files() {
    compopt -o filenames 2>/dev/null
    _hiodctl_give "$@"
}
_hiodctl_hands() {
    _hiodctl_give -W "$(hiodctl "${boss[@]}" list 2>/dev/null | while read -r name _; do
        name=${name%\*}
        [ "$name" = NAME ] || echo "$name"
        # The base of a counted hand means all of them.
        [[ $name =~ ^(.+)-[0-9]+$ ]] && echo "${BASH_REMATCH[1]}"
    done)"
}
_hiodctl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local verb="" nth=0 boss=() at value
    COMPREPLY=()
    # For readline --wait=ready is three words.
    if [ "$word" = "=" ]; then
        word=""
    elif [ "$before" = "=" ]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        value=$((at + 1))
        [ "${COMP_WORDS[value]}" = "=" ] && value=$((value + 1))
        case "${COMP_WORDS[at]}" in
        --socket) boss=(--socket "${COMP_WORDS[value]/#\~/$HOME}") at=$value ;;
        --user) boss=(--user) ;;
        --)
            [ "$verb" = add ] && _hiodctl_give -c
            return ;;
        -f) [ "$verb" = add ] && at=$value ;;
        @VALUED@) at=$value ;;
        @OPTIONAL@) [ "${COMP_WORDS[at+1]}" = "=" ] && at=$value ;;
        -*) ;;
        *)
            if [ -n "$verb" ]; then nth=$((nth + 1)); else verb=${COMP_WORDS[at]}; fi ;;
        esac
    done
    if [ -z "$verb" ] && [[ "$before" != --socket ]]; then
        _hiodctl_give -W "@VERBS@ @COMMON@"
        return
    fi
    case "$verb $before" in
@AFTER@
    esac
    if [[ "$word" == -* ]]; then
        case "$verb" in
@OPTIONS@
        esac
        return
    fi
    case "$verb $nth" in
@WORDS@
    esac
}
complete -F _hiodctl hiodctl
"""


def bash() -> str:
    table = {verb: options_of(verb) for verb in arguments.VERBS}
    every = [option for options in table.values() for option in options]
    # What -f is depends on the verb.
    names = {n for one in every if one.value and not one.optional for n in one.names} - {"-f"}
    optional = {n for one in every if one.optional for n in one.names}
    after: dict[str, list[str]] = {}
    for verb, options in table.items():
        for option in options:
            # A value that may be left out is not the next word.
            if option.value is not None and not option.optional:
                pattern = [f'"{verb} {name}"' for name in option.names]
                after.setdefault(_bash(option.kind), []).extend(pattern)
    after[_bash(FILES)].append('" --socket"')  # before the verb
    chosen: dict[str, list[str]] = {}
    for verb in arguments.VERBS:
        *firsts, last = words_of(verb)
        for at, kind in enumerate(firsts):
            chosen.setdefault(_bash(kind), []).append(f'"{verb} {at}"')
        chosen.setdefault(_bash(last), []).append(f'"{verb} "*')
    for actions in (after, chosen):
        # The first that fits is taken; those for a certain word come before those for all.
        for patterns in actions.values():
            patterns.sort(key=lambda pattern: pattern.endswith("*"))
    lines = {
        "VALUED": " | ".join(sorted(names - {"--socket"})),
        "OPTIONAL": " | ".join(sorted(optional)),
        "VERBS": " ".join(arguments.VERBS),
        "COMMON": "--socket --user --json --help --version",
        "AFTER": "\n".join(
            f"    {' | '.join(sorted(patterns))})\n        {action}\n        return ;;"
            for action, patterns in sorted(after.items())
        ),
        "OPTIONS": "\n".join(
            f'        {verb}) _hiodctl_give -W "{" ".join(sorted(_names(options)))}" ;;'
            for verb, options in table.items()
        ),
        "WORDS": "\n".join(
            f"    {pattern}) {action} ;;"
            for certain in (True, False)
            for action, patterns in chosen.items()
            for pattern in [" | ".join(p for p in patterns if p.endswith("*") != certain)]
            if pattern and (action != ":" or certain)
        ),
    }
    text = BASH
    for key, value in lines.items():
        text = text.replace(f"@{key}@", value)
    return text


def _names(options: list[Option]) -> list[str]:
    return [name for option in options for name in option.names]


def _bash(kind: str | tuple[str, ...]) -> str:
    """Return the command that offers a kind of word."""
    if isinstance(kind, tuple):
        return f'_hiodctl_give -W "{" ".join(kind)}"'
    return {
        HAND: "_hiodctl_hands",
        FILES: "_hiodctl_files -f",
        DIRECTORIES: "_hiodctl_files -d",
    }.get(kind, ":")


# ---------------------------------------------------------------------------- zsh

ZSH = r"""#compdef hiodctl
# Completion of hiodctl for zsh. Written by `make docs`; do not edit.
_hiodctl_hands() {
    local -a hands bases
    if (( $+opt_args[--socket] )); then
        boss=(--socket ${~${(Q)opt_args[--socket]}})
    elif (( $+opt_args[--user] )); then
        boss=(--user)
    fi
    hands=(${${${(f)"$(_call_program hands hiodctl $boss list 2>/dev/null)"}%%[ \*]*}:#NAME})
    # The base of a counted hand means all of them.
    bases=(${(u)${(M)hands:#*-<->}%-<->})
    _describe -t hands hand hands -- bases
}
_hiodctl() {
    local curcontext=$curcontext state line
    local -a verbs boss
    typeset -A opt_args
    verbs=(
@VERBS@
    )
    _arguments -C -S \
        '(--user)--socket=[the boss'\''s admin socket]:path:_files' \
        '(--socket)--user[this user'\''s own boss]' \
        '--json[the boss'\''s own words, times in UTC]' \
        '(- *)'{-h,--help}'[this text]' \
        '(- *)'{-V,--version}'[which hiodctl this is]' \
        '(-): :->verb' \
        '(-)*:: :->rest' && return
    if [[ $state = verb ]]; then
        _describe -t verbs verb verbs
        return
    fi
    # What was said of the boss before the verb.
    if (( $+opt_args[--socket] )); then
        boss=(--socket ${~${(Q)opt_args[--socket]}})
    elif (( $+opt_args[--user] )); then
        boss=(--user)
    fi
    curcontext=${curcontext%:*}-$words[1]:
    case $words[1] in
@CASES@
    esac
}
_hiodctl "$@"
"""


def quoted(text: str) -> str:
    for letter in "\\[]:":
        text = text.replace(letter, f"\\{letter}")
    return text.replace("'", "'\\''")


def zsh() -> str:
    verbs = "\n".join(
        f"        '{verb}:{quoted(about)}'" for verb, (about, _) in arguments.VERBS.items()
    )
    cases = []
    for verb in arguments.VERBS:
        specs = [spec for option in options_of(verb) for spec in _specs(option)]
        *firsts, last = words_of(verb)
        specs += [f"'{at + 1}:{_zsh(kind)}'" for at, kind in enumerate(firsts)]
        if last != NOTHING:
            specs.append(f"'*:{_zsh(last)}'")
        if verb == "add":
            specs += ["'1:name of the new hand: '", "'*::command:_normal'"]
        joined = " \\\n            ".join(specs)
        cases.append(f"    {verb})\n        _arguments -S \\\n            {joined} ;;")
    return ZSH.replace("@VERBS@", verbs).replace("@CASES@", "\n".join(cases))


def _specs(option: Option) -> list[str]:
    """Return what ``_arguments`` is told of each name of an option."""
    others = "" if option.again else f"({' '.join(option.names)})"
    specs = []
    for name in option.names:
        value, sign = "", ""
        if option.value is not None:
            sign = "=" if name.startswith("--") else ""
            sign += "-" if option.optional else ""
            colon = "::" if option.optional else ":"
            value = f"{colon}{_zsh(option.kind, option.value)}"
        star = "*" if option.again else ""
        specs.append(f"'{others}{star}{name}{sign}[{quoted(option.about)}]{value}'")
    return specs


def _zsh(kind: str | tuple[str, ...], called: str = "") -> str:
    """Return a message and the action that offers a kind of word."""
    if isinstance(kind, tuple):
        return f"{quoted(called) or 'word'}:({' '.join(kind)})"
    actions = {HAND: "_hiodctl_hands", FILES: "_files", DIRECTORIES: "_files -/"}
    return f"{quoted(called) or kind or 'value'}:{actions.get(kind, ' ')}"


def pages() -> dict[Path, str]:
    return {COMPLETION / "hiodctl.bash": bash(), COMPLETION / "_hiodctl": zsh()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
