"""Writes the admin protocol's Varlink text and its page's reference part: ``make docs``."""

from __future__ import annotations

from pathlib import Path

from hiod.admin import drawing

HERE = Path(__file__).parent

if __name__ == "__main__":
    (HERE / "io.hiod.Boss.varlink").write_text(drawing.interface_text(), "utf-8")
    page = HERE / "admin-protocol.md"
    reference = drawing.reference()
    told, heading, _ = page.read_text("utf-8").partition(reference.splitlines()[0] + "\n")
    if not heading:
        raise SystemExit(f"{page} has no line {reference.splitlines()[0]!r} to write below")
    page.write_text(told + reference, "utf-8")
