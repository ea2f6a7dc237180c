"""The configuration directory as it is read from a disk."""

import os

import pytest

from hiod.boss.config import build
from hiod.errors import ConfigError
from hiod.host import files
from hiod.host.files import read_files
from hiod.rules.checking import SourceFile


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "crew.d").mkdir()
    return tmp_path


def told(folder):
    found = read_files(folder)
    assert {problem.code for problem in found.problems} == {"unreadable"}
    return [str(problem) for problem in found.problems]


def test_a_directory_that_is_absent_is_an_empty_configuration(tmp_path):
    found = read_files(tmp_path / "nothing")

    assert (found.sources, found.problems) == ((), ())


def test_hiod_toml_comes_first_and_then_the_crew_files_by_name(folder):
    (folder / "crew.d/b.toml").write_text("# b")
    (folder / "crew.d/a.toml").write_text("# a")
    (folder / "hiod.toml").write_text("# main")

    assert read_files(folder).sources == (
        SourceFile("hiod.toml", "# main", str(folder)),
        SourceFile("crew.d/a.toml", "# a", str(folder / "crew.d")),
        SourceFile("crew.d/b.toml", "# b", str(folder / "crew.d")),
    )


def test_the_directory_is_named_whole_even_if_it_was_given_from_here(folder, monkeypatch):
    (folder / "crew.d/a.toml").write_text("hand.a = { doers = [], path = ['src'] }")
    monkeypatch.chdir(folder)

    (hand,) = build(read_files(".").sources).hands

    assert hand.path == (f"{folder}/crew.d/src",)


def test_what_editors_leave_behind_is_not_read(folder):
    for name in ("a.toml~", ".a.toml.swp", "a.toml.example", "README"):
        (folder / "crew.d" / name).write_text("[")
    (folder / "crew.d/.#a.toml").symlink_to("alice@host.1234")

    found = read_files(folder)

    assert (found.sources, found.problems) == ((), ())


def test_a_link_to_a_file_is_read_and_one_to_nowhere_is_told(folder):
    (folder / "real").write_text("# real")
    (folder / "crew.d/a.toml").symlink_to(folder / "real")
    (folder / "crew.d/b.toml").symlink_to(folder / "gone")

    assert [source.text for source in read_files(folder).sources] == ["# real"]
    assert told(folder) == ["crew.d/b.toml: is a link to a file that does not exist"]


def test_what_is_no_file_is_told_and_not_waited_for(folder):
    os.mkfifo(folder / "crew.d/a.toml")
    (folder / "crew.d/b.toml").mkdir()

    assert told(folder) == [
        "crew.d/a.toml: is not a regular file",
        "crew.d/b.toml: is not a regular file",
    ]


def test_what_is_not_utf_8_is_told_with_the_line(folder):
    (folder / "hiod.toml").write_bytes(b"# gr\xc3\xbcn\n# gr\xfcn\n")

    assert told(folder) == ["hiod.toml: is not UTF-8 at line 2; save it as UTF-8"]


def test_a_byte_order_mark_is_no_part_of_the_text(folder):
    (folder / "hiod.toml").write_bytes(b"\xef\xbb\xbf[boss]\n")

    assert read_files(folder).sources[0].text == "[boss]\n"


def test_a_file_that_is_far_too_large_is_told(folder):
    (folder / "hiod.toml").write_bytes(b"#" * ((1 << 20) + 1))

    assert told(folder) == ["hiod.toml: is larger than 1 MiB"]


def test_a_file_that_may_not_be_read_is_told(folder, monkeypatch):
    # Root may read everything, so the refusal is put in its way.
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", path)

    (folder / "hiod.toml").write_text("")
    monkeypatch.setattr(files.os, "open", refuse)

    assert told(folder) == ["hiod.toml: cannot be read: permission denied"]


def test_a_crew_directory_that_is_none_is_told(tmp_path):
    (tmp_path / "crew.d").write_text("")

    assert told(tmp_path) == ["crew.d: cannot be read: not a directory"]


def test_a_file_that_cannot_be_read_to_its_end_is_told(folder):
    # Nothing is mapped at address 0, so the kernel answers EIO.
    (folder / "hiod.toml").symlink_to("/proc/self/mem")

    assert told(folder) == ["hiod.toml: cannot be read: input/output error"]


def test_a_file_that_is_being_written_is_told_and_not_used(folder, monkeypatch):
    path = folder / "hiod.toml"
    path.write_text("[boss]\n")
    fstat = os.fstat
    seen = []

    def write_between(fd):
        if seen:
            path.write_text("[boss]\nname = 'x'\n")
        seen.append(fd)
        return fstat(fd)

    monkeypatch.setattr(files.os, "fstat", write_between)

    assert told(folder) == ["hiod.toml: changed while it was read; try again"]


def test_a_name_that_is_not_utf_8_can_still_be_told(folder):
    (folder / "crew.d" / os.fsdecode(b"\xff.toml")).mkdir()

    (line,) = told(folder)

    assert line.encode() == b"crew.d/\\udcff.toml: is not a regular file"


def test_equal_digests_are_equal_configurations(folder):
    empty = read_files(folder).digest
    (folder / "crew.d/a.toml").write_text("# 1")
    one = read_files(folder).digest
    again = read_files(folder).digest
    (folder / "crew.d/a.toml").rename(folder / "crew.d/b.toml")
    renamed = read_files(folder).digest
    (folder / "crew.d/b.toml").write_text("# 2")
    changed = read_files(folder).digest
    (folder / "crew.d/c.toml").mkdir()
    broken = read_files(folder).digest

    assert one == again
    assert len({empty, one, renamed, changed, broken}) == 5


def test_files_that_cannot_be_read_refuse_the_whole(folder):
    (folder / "crew.d/a.toml").write_text("hand.a.doers = []")
    (folder / "crew.d/b.toml").mkdir()
    found = read_files(folder)

    with pytest.raises(ConfigError, match=r"b\.toml: is not a regular file"):
        build(found.sources, problems=found.problems)
