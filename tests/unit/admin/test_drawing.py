from __future__ import annotations

from pathlib import Path

import pytest
import varlink

from hiod.admin import drawing, schema

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("interface", [schema.INTERFACE, schema.SERVICE])
def test_varlink_reads_the_interface_text(interface: str) -> None:
    read = varlink.Interface(drawing.interface_text(interface))
    assert read.name == interface


def test_the_interface_text_has_every_method_and_error() -> None:
    read = varlink.Interface(drawing.interface_text())
    members = {f"{read.name}.{name}" for name in read.members}
    assert {m.long for m in schema.METHODS} <= members
    assert {f"{read.name}.{code}" for code in schema.ERRORS} <= members


def test_an_interface_that_is_not_ours_has_no_text() -> None:
    with pytest.raises(KeyError):
        drawing.interface_text("com.example.other")


def test_the_json_schema_says_what_each_member_means() -> None:
    drawn = drawing.json_schema()
    assert set(drawn["methods"]) == {method.short for method in schema.METHODS}
    for title, definition in drawn["$defs"].items():
        for name, member in definition.get("properties", {}).items():
            assert member["description"], f"{title}.{name}"


def test_the_json_schema_of_one_method_is_of_that_method() -> None:
    drawn = drawing.json_schema("io.hiod.Boss.Status")
    assert list(drawn["methods"]) == ["status"]
    assert set(drawn["errors"]) == {
        f"io.hiod.Boss.{code}" for code in ("NoSuchHand", *schema.ANY_CALL)
    }


def test_the_varlink_file_is_what_the_table_says() -> None:
    assert (DOCS / "io.hiod.Boss.varlink").read_text() == drawing.interface_text()


def test_the_reference_page_is_what_the_table_says() -> None:
    page = (DOCS / "admin-protocol.md").read_text()
    assert page.endswith(drawing.reference())


def test_without_docstrings_the_table_is_drawn_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Bare(schema.Record):
        pid: int

    monkeypatch.setattr(Bare, "__doc__", None)
    assert drawing._sentence(Bare) == "Bare"
    assert drawing._members(Bare) == "(\n  # \n  pid: int\n)"
