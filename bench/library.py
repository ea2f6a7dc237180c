"""How long a library boss takes from its start until 12 hands have registered.

    python bench/library.py            hiod
    HIOD_HIO_PYTHON=... beside it      real hio, in the same run

Each figure is the best of three, in seconds; a run is a Python of its own.
"""

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


def crewed_s(python: str, package: str) -> float:
    """Run one crew; give the seconds to crewed."""
    with tempfile.TemporaryDirectory(prefix="hi", dir="/tmp") as head:
        script = Path(head) / "crew.py"
        script.write_text(CREW.format(package=package, hands=HANDS), encoding="utf-8")
        path = os.pathsep.join([str(ROOT), sysconfig.get_paths()["platlib"]])
        with subprocess.Popen(
            [python, script, head],
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, PYTHONPATH=path if package == "hiod" else ""),
        ) as ran:
            try:
                out, _ = ran.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                ran.terminate()  # a boss that is asked to end ends its hands; a killed one does not
                raise
        return float(out.split()[0])


def main() -> None:
    print(f"start of {HANDS} hands until crewed, best of {TRIES}")
    crews = [("hiod", sys.executable)]
    if os.environ.get("HIOD_HIO_PYTHON"):
        crews.append(("hio", os.environ["HIOD_HIO_PYTHON"]))
    for package, python in crews:
        print(f"  {package:5} {min(crewed_s(python, package) for _ in range(TRIES)):6.2f} s")


if __name__ == "__main__":
    main()
