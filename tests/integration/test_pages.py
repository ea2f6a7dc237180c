"""The pages and completions that are written from the tables in the code."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from hiod.ctl.arguments import VERBS

TOP = Path(__file__).parents[2]


def made_by(script: str):
    spec = importlib.util.spec_from_file_location(script, TOP / "docs" / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def complete(*words: str, listed: str = "") -> list[str]:
    """Ask a real bash what would follow these words; the last is the one being typed."""
    script = f"""
        source {TOP}/etc/completion/hiodctl.bash
        hiodctl() {{ printf '%s' "$LISTED"; }}
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _hiodctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    argv = ["bash", "--norc", "-c", script, "bash", "hiodctl", *words]
    done = subprocess.run(
        argv, env={"LISTED": listed, "PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    assert done.stderr == b""
    return done.stdout.decode().split()


def test_man_pages_and_completions_are_what_the_code_says() -> None:
    pages = made_by("make_man").pages() | made_by("make_completion").pages()

    assert {path: path.read_text("utf-8") for path in pages} == pages, "run make docs"


def test_every_verb_is_in_the_man_page() -> None:
    text = (TOP / "docs" / "man" / "hiodctl.1").read_text("utf-8")

    assert [verb for verb in VERBS if f".SS {verb}\n" not in text] == []


@pytest.mark.parametrize("name", ["hiod.1", "hiodctl.1", "hiod.toml.5", "hiod-crew.5"])
def test_man_pages_are_sound(name: str) -> None:
    page = TOP / "docs" / "man" / name
    if shutil.which("groff") is None:
        assert page.read_text("utf-8").startswith(".TH ")
        return

    argv = ["groff", "-man", "-Tutf8", "-ww", "-z", str(page)]
    done = subprocess.run(argv, capture_output=True, check=True)

    assert done.stderr == b""


def test_bash_completes_verbs() -> None:
    assert complete("st") == ["status", "start", "stop"]
    assert set(VERBS) <= set(complete(""))


def test_bash_completes_flags_of_the_verb() -> None:
    assert complete("restart", "--ro") == ["--rolling"]
    assert complete("list", "--ro") == []


def test_bash_completes_the_names_of_living_hands() -> None:
    listed = "NAME STATE\nweb  ready\nworker-0* ready\n"

    assert complete("stop", "w", listed=listed) == ["web", "worker-0", "worker"]
    assert complete("--user", "stop", "worker-", listed=listed) == ["worker-0"]
    assert complete("add", "w", listed=listed) == []
