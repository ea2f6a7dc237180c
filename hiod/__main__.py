"""``python -m hiod``: the one way in that no other package's script can take.

Decides which of hiod's processes this one is to be and leaves everything else to it.
"""

from __future__ import annotations

import sys


def main(argv: list[str]) -> int:
    """Become the process that the first argument names and return its exit code."""
    if argv[:1] == ["launcher"]:
        from hiod.hand.launcher import main as launcher  # noqa: PLC0415 - a boss needs none of it

        return launcher(argv[1:])
    if argv[:1] == ["ctl"]:
        from hiod.ctl.main import main as ctl  # noqa: PLC0415 - a launcher needs none of it

        return ctl(argv[1:])
    from hiod.boss.main import main as boss  # noqa: PLC0415 - a launcher needs none of it

    return boss(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
