"""The benches say how they are called, and refuse in a sentence what they do not take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCH.glob("*.py")))
def test_a_bench_explains_itself_and_takes_no_nonsense(name: str):
    def run(word: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(BENCH / f"{name}.py"), word],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    told, refused = run("--help"), run("nonsense")

    assert (told.returncode, told.stdout[:6]) == (0, "usage:"), told.stderr
    assert refused.returncode == 2, refused.stderr
    assert "nonsense" in refused.stderr
    assert "Traceback" not in refused.stderr
