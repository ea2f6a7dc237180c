"""How long a library boss takes from its start until 12 hands have registered.

    python bench/library.py            hiod
    HIOD_HIO_PYTHON=... beside it      real hio, in the same run

Each figure is the best of three, in seconds; a run is a Python of its own.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HANDS = 12
TRIES = 3

CREW = """
import sys, time
from {package}.base.doing import Doist
from {package}.base.multidoing import Bosser, Crewer

class Boss(Bosser):
    def recur(self, tyme):
        if self.crewed:
            print(time.perf_counter() - began)
            sys.stdout.flush()
            sys.exit()
        return super().recur(tyme=tyme)

if __name__ == "__main__":
    head = sys.argv[1]
    loads = [
        dict(name=f"hand{{n}}", tyme=0.0, tock=0.03125, real=True, limit=None, temp=None, boss=None,
             doers=[Crewer(name=f"hand{{n}}", headDirPath=head)])
        for n in range({hands})
    ]
    began = time.perf_counter()
    Doist(real=True, doers=[Boss(name="boss", loads=loads, headDirPath=head)]).do()
"""


def crewed_s(python: str, package: str, cache: str) -> float:
    """Run one crew; give the seconds to crewed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if package == "hiod":  # from the work tree, compiled as an installed package is
        environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), sysconfig.get_paths()["platlib"]])
        environ["PYTHONPYCACHEPREFIX"] = cache
    with tempfile.TemporaryDirectory(prefix="hi", dir="/tmp") as head:
        script = Path(head) / "crew.py"
        script.write_text(CREW.format(package=package, hands=HANDS), encoding="utf-8")
        with subprocess.Popen(
            [python, script, head],
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        ) as ran:
            try:
                out, _ = ran.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                ran.terminate()  # a boss that is asked to end ends its hands; a killed one does not
                raise
        return float(out.split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.parse_args()
    print(f"start of {HANDS} hands until crewed, best of {TRIES}")
    crews = [("hiod", sys.executable)]
    if os.environ.get("HIOD_HIO_PYTHON"):
        crews.append(("hio", os.environ["HIOD_HIO_PYTHON"]))
    with tempfile.TemporaryDirectory(prefix="hi", dir="/tmp") as cache:
        for package, python in crews:
            best = min(crewed_s(python, package, cache) for _ in range(TRIES))
            print(f"  {package:5} {best:6.2f} s")


if __name__ == "__main__":
    main()
