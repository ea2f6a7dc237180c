"""The project is what it says of itself: its events, its links, its commands, its layers."""

from __future__ import annotations

import ast
import importlib.util
import re
import string
import tomllib
from pathlib import Path

import pytest

import hiod
from hiod.rules.story import STORY

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "hiod").rglob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EVENT = re.compile(rf"({'|'.join({name.partition('.')[0] for name in STORY})})\.[a-z_]+")
FILES = {"admin.sock", "boss.lock", "boss.log", "boss.uxd"}
# What the admin server notes is told by the boss as admin.denied or admin.faulted.
NOTED = {"admin.cut", "admin.refused", "admin.fault"}


def literals():
    """Give every event literal of the source, with the place of each."""
    found = {}
    for path in SOURCES:
        if path.name != "story.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                    continue
                if EVENT.fullmatch(node.value) and node.value not in FILES | NOTED:
                    found.setdefault(node.value, f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def tellings():
    """Give every call ``….tell("event", fact=…)`` of the source whose facts can be read there."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "tell"
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and node.args[0].value in STORY
                and all(keyword.arg for keyword in node.keywords)
            ):
                facts = {keyword.arg for keyword in node.keywords}
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.args[0].value, facts


def test_every_event_of_the_source_has_its_story():
    assert {name: place for name, place in literals().items() if name not in STORY} == {}


def test_every_story_is_told_somewhere():
    assert set(STORY) - set(literals()) == set()


def test_every_telling_has_the_facts_its_sentence_asks_for():
    asked = {
        name: {field for _, field, _, _ in string.Formatter().parse(told.template) if field}
        for name, told in STORY.items()
    }

    tellings_seen = list(tellings())

    assert tellings_seen
    assert [told for told in tellings_seen if asked[told[1]] - told[2]] == []


def test_the_page_of_events_is_what_the_story_says():
    spec = importlib.util.spec_from_file_location("make_events", ROOT / "docs/make_events.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)

    page = maker.page()

    assert page == maker.PAGE.read_text(), "make docs"
    assert all(f"### {name}\n" in page for name in STORY)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\((?![a-z]+:|#)([^)#]+)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_a_page_names_can_be_made(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = set(re.findall(r"(?:^ +(?:\$ )?|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))

    assert named - targets == set()


def test_the_change_log_knows_this_version():
    assert f"## [{hiod.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_module_stands_in_a_layer():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(one["layers"] for one in contracts["contracts"] if one["type"] == "layers")
    placed = {name.strip() for layer in layers for name in re.split(r"[|:]", layer)}

    def stands(module):
        parts = module.split(".")
        return any(".".join(parts[:end]) in placed for end in range(2, len(parts) + 1))

    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in SOURCES
        if path.name != "__init__.py"
    ]

    # hiod.demo is no part of the daemon: it stands where its users' code stands.
    assert [module for module in modules if not stands(module)] == ["hiod.demo"]
