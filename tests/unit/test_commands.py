"""Every command that a page gives an operator is run by some test, or says why it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.blocks import ROOT, blocks

PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_what_becomes_of_every_command_of_a_page_is_said_above_it(page: str) -> None:
    unmarked = [f"{page}:{one.line}: {one.lines[0]}" for one in blocks(page) if not one.how]

    assert unmarked == []


@pytest.mark.parametrize("page", PAGES)
def test_the_test_that_is_named_above_a_command_reads_that_page(page: str) -> None:
    for one in blocks(page):
        if one.how == "run by":
            text = (ROOT / one.what).read_text()
            assert page in text or Path(page).name in text, f"{page}:{one.line}: {one.what}"


def test_the_pages_have_commands() -> None:
    counts = {page: len(blocks(page)) for page in PAGES}

    assert counts["README.md"] >= 8
    assert counts["docs/systemd.md"] >= 10
    assert counts["docs/tutorial.md"] >= 8
    assert sum(one.how == "run by" for page in PAGES for one in blocks(page)) > 20
