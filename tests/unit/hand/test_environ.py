from __future__ import annotations

import pytest

from hiod.hand.environ import compose, identity, mark, parse, unwanted


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1\nB=2", {"A": "1", "B": "2"}),
        ("  A = 1  \n", {"A": "1"}),
        ("A=\n", {"A": ""}),
        ("A=", {"A": ""}),
        ("# A=1\n; B=2\nC=3", {"C": "3"}),
        ("A=one two  # no comment", {"A": "one two  # no comment"}),
        ("A='one  two '", {"A": "one  two "}),
        ('A="one  two "  \n', {"A": "one  two "}),
        (r"A='\n \" $X'", {"A": r"\n \" $X"}),
        (r'A="\" \\ \` \$ \n"', {"A": r'" \ ` $ \n'}),
        ("A='one'\" two\" three", {"A": "one twothree"}),
        (r"A=one\ two\\", {"A": r"one two" + "\\"}),
        ("A=one \\\ntwo", {"A": "one two"}),
        ('A="one \\\ntwo"', {"A": "one two"}),
        ('A="one\ntwo"', {"A": "one\ntwo"}),
        ("A='one", {"A": "one"}),
        ("A=x='y'", {"A": "x='y'"}),
        ("# a comment \\\nA=1", {"A": "1"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=$HOME", {"A": "$HOME"}),
        ("", {}),
    ],
)
def test_an_env_file_is_read_as_systemd_reads_it(text, found):
    assert parse(text) == (found, [])


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("A=1\nnonsense\nB=2", "line 2: 'nonsense' has no '=', left out"),
        ("A=1\nB=2\nnonsense", "line 3: 'nonsense' has no '=', left out"),
        ("A=1\n1B=3\nB=2", "line 2: '1B' is not a variable's name, left out"),
        ("A=1\nexport B=3\nB=2", "line 2: 'export B' is not a variable's name, left out"),
    ],
)
def test_a_line_that_is_no_variable_is_left_out_and_said(text, note):
    found, notes = parse(text)

    assert found["A"] == "1"
    assert notes == [note]


def test_later_files_win_and_env_wins_over_all():
    merged, notes = compose(["A=1\nB=1\nC=1", "B=2\nC=2"], {"C": "3"})

    assert merged == {"A": "1", "B": "2", "C": "3"}
    assert notes == []


def test_what_systemd_says_to_the_boss_is_taken_away_and_nothing_else():
    names = ["PATH", "NOTIFY_SOCKET", "LISTEN_FDS", "HIOD_NAME", "HIOD_MARK", "HIOD_SOCKET", "X"]

    assert unwanted(names) == ["NOTIFY_SOCKET", "LISTEN_FDS", "HIOD_NAME", "HIOD_MARK"]


def test_a_mark_is_read_back():
    block = b"PATH=/bin\0" + mark("alpha-1", 12, 128) + b"HOME=/\0"

    assert len(mark("alpha-1", 12, 128)) == 128
    assert identity(block) == ("alpha-1", 12)


@pytest.mark.parametrize(
    "block", [b"", b"HIOD_NAME=a\0", b"HIOD_GENERATION=1\0", b"HIOD_NAME=a\0HIOD_GENERATION=x\0"]
)
def test_an_environment_that_names_no_hand_is_nobodys(block):
    assert identity(block) is None


def test_a_mark_that_does_not_fit_is_empty():
    assert mark("a" * 40, 1, 16) == b"\0" * 16
