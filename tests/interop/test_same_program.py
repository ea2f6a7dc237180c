"""A program written for hio does the same with hiod when its imports are changed, nothing else."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.hio_env import ROOT, environ, hioPython

pytestmark = pytest.mark.interop

PROGRAMS = sorted(Path(__file__).with_name("programs").glob("*.py"))
IMPORT = re.compile(r"^(from|import) hio\b", re.MULTILINE)


def told(python, text, env):
    """Run a program in a short directory, which it has as <DIR>; give the lines it prints."""
    head = tempfile.mkdtemp(prefix="hp", dir="/tmp")
    program = Path(head, "program.py")
    program.write_text(text)
    work = Path(head, "w")
    work.mkdir()
    with subprocess.Popen(
        [str(python), str(program), str(work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        text=True,
        start_new_session=True,
    ) as ran:
        try:
            out, err = ran.communicate(timeout=60)
        finally:
            if ran.poll() is None:
                os.killpg(ran.pid, signal.SIGKILL)
            shutil.rmtree(head)
    assert (ran.returncode, err) == (0, "")
    return out.replace(str(work), "<DIR>").splitlines()


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_does_the_same_with_nothing_but_its_imports_changed(path):
    text = path.read_text()
    ours, count = IMPORT.subn(r"\1 hiod", text)
    changed = [(a, b) for a, b in zip(text.splitlines(), ours.splitlines(), strict=True) if a != b]
    assert count == len(changed) >= 2

    theirs = told(hioPython(), text, environ())
    mine = told(sys.executable, ours, dict(os.environ, PYTHONPATH=str(ROOT)))

    assert len(theirs) >= 5
    assert mine == theirs
