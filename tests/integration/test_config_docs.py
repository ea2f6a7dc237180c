"""What users are shown is what is read: the reference page and the files that are shipped."""

import configparser
import re
import tomllib
from pathlib import Path

import pytest

from hiod.boss.config import MAIN_KEYS, Config, build
from hiod.rules.checking import SourceFile, keys_of
from hiod.rules.specs import KEYS, DoerRef, parse, parse_defaults
from hiod.rules.writing import reference, toml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/crew-files.md").read_text()
MAIN = (ROOT / "etc/hiod.toml").read_text()
CREWS = {path.name: path.read_text() for path in sorted((ROOT / "etc/crew.d").glob("*.example"))}


def generated():
    return {
        "keys": reference([known for name, known in KEYS.items() if name != "name"]),
        "doers": reference(list(keys_of(DoerRef).values()), applies=False),
        "hiod.toml": reference(list(MAIN_KEYS.values()), applies=False),
    }


@pytest.mark.parametrize("table", ["keys", "doers", "hiod.toml"])
def test_the_page_has_every_key_as_it_is_read(table):
    begin = f"<!-- generated from the table of {table}: begin -->\n"
    block = PAGE.partition(begin)[2].partition("<!-- end -->")[0]

    assert block == "\n" + generated()[table] + "\n"


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_every_example_of_the_page_is_a_crew_file(text):
    assert build([SourceFile("crew.d/x.toml", text, "/x")]).hands


def test_the_example_for_those_who_come_from_supervisord_keeps_what_theirs_says():
    page = (ROOT / "docs/for-supervisord-users.md").read_text()
    [ours] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    theirs = configparser.RawConfigParser()
    theirs.read_string(*re.findall(r"```ini\n(.*?)```", page, re.DOTALL))

    hands = build([SourceFile("crew.d/shop.toml", ours, "/x")]).hands

    specs = {one.name: one for one in hands}
    assert {f"program:{name}" for name in specs} - {"program:pager"} < set(theirs)
    for name in ("web", "worker"):
        program, spec = theirs[f"program:{name}"], specs[name]
        number = "%(process_num)d"
        assert program["command"].replace(number, "${HIOD_ORDINAL}") == " ".join(spec.command)
        assert program["directory"] == spec.cwd
        assert float(program["stopwaitsecs"]) == spec.stop.grace_s
        assert int(program.get("numprocs", "1")) == (spec.count or 1)
    assert spec.restart.policy == "on-failure"
    assert specs["web"].restart.limit == int(theirs["program:web"]["startretries"])


@pytest.mark.parametrize("name", CREWS)
def test_every_example_that_is_shipped_is_a_crew_file(name):
    assert build([SourceFile("crew.d/x.toml", CREWS[name], "/x")]).hands


def test_the_problems_on_the_page_are_told_in_these_words():
    text = "[hand.web]\ndoers = []\nrestart.window_s = -3\nrestrat = {}\n"
    _, problems = parse(
        tomllib.loads(text)["hand"]["web"], path="crew.d/shop.toml: hand.web", name="web"
    )

    assert [str(problem) for problem in problems]
    assert all(f"\n  {problem}\n" in PAGE for problem in problems)


def test_the_hiod_toml_that_is_shipped_changes_nothing():
    config = build([SourceFile("hiod.toml", MAIN)])

    assert (config.boss, config.admin) == (Config().boss, Config().admin)
    assert [layer.values for layer in config.defaults] == [{}]


def test_what_is_commented_out_in_it_is_what_holds_anyway():
    # A comment that is a key, not one that is a sentence.
    text = re.sub(r"^# (?=[a-z_]+ = )", "", MAIN, flags=re.MULTILINE)
    config = build([SourceFile("hiod.toml", text)])
    plain = {"name": "x", "doers": []}

    assert (config.boss, config.admin) == (Config().boss, Config().admin)
    assert parse(plain, defaults=config.defaults) == parse(plain)
    tables = tomllib.loads(text)
    assert set(tables["boss"]) | set(tables["admin"]) == {
        name.partition(".")[2] for name in MAIN_KEYS
    }
    usual = {
        name
        for name, known in KEYS.items()
        if known.shared and known.default is not None and not name.startswith("ready.")
    }
    written, _ = parse_defaults(tables["defaults"])
    assert flat(written.values) == usual


def flat(values):
    return {
        f"{name}.{inner}" if inner else name
        for name, value in values.items()
        for inner in (value if isinstance(value, dict) and value else [""])
    }


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a b": {"c": [1, 2.5, True, "x"]}, "": 'é\x7f\x00\t"\\'},
        1e300,
        5e-324,
        -(1 << 63),
        "\u2028",
    ],
)
def test_what_is_written_as_toml_is_read_back(value):
    assert tomllib.loads(f"x = {toml(value)}") == {"x": value}
