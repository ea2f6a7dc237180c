"""Paths made, kept and removed on a real file system."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from hiod.base.doing import Doist
from hiod.base.filing import Filer, FilerDoer, openFiler
from hiod.core.uxd import Peer, PeerMemoer
from hiod.errors import FilerError


@pytest.fixture
def head():
    path = tempfile.mkdtemp(prefix="hf")
    was = os.umask(0o022)
    yield path
    os.umask(was)
    shutil.rmtree(path)


@pytest.fixture
def filers():
    """Make filers; close what they have open."""
    made = []

    def make(**kwa):
        made.append(Filer(**kwa))
        return made[-1]

    yield make
    for filer in made:
        filer.close()


def mode(path):
    return oct(stat.S_IMODE(Path(path).stat().st_mode))


@pytest.mark.parametrize(
    ("given", "path", "made"),
    [
        ({}, "hio/a", "dir 0o1700"),
        ({"base": "b/c"}, "hio/b/c/a", "dir 0o1700"),
        ({"name": "e/f.g"}, "hio/e/f.g", "dir 0o1700"),
        ({"perm": 0o750}, "hio/a", "dir 0o750"),
        ({"clean": True}, "hio/clean/a", "dir 0o1700"),
        ({"filed": True}, "hio/a.text", "file 0o1700"),
        ({"filed": True, "fext": "log"}, "hio/a.log", "file 0o1700"),
        ({"filed": True, "name": "a.log"}, "hio/a.log", "file 0o1700"),
        ({"extensioned": True}, "hio/a.text", "nothing"),
    ],
)
def test_a_path_is_where_hio_has_it(given, path, made, head, filers):
    filer = filers(**{"name": "a", "headDirPath": head, **given})

    there = Path(head, path)
    assert filer.path == str(there)
    assert filer.opened
    found = "nothing"
    if there.exists():
        found = f"{'dir' if there.is_dir() else 'file'} {mode(there)}"
    assert found == made
    assert (filer.file is not None) == bool(given.get("filed"))
    assert there.parent.is_dir()


def test_a_filer_that_is_not_to_open_makes_nothing(head, filers):
    filer = filers(name="a", headDirPath=head, reopen=False)

    assert (filer.path, filer.file, filer.opened) == (None, None, False)
    assert filer.close(clear=True)
    assert list(Path(head).iterdir()) == []


@pytest.mark.parametrize("part", ["name", "base"])
def test_an_absolute_part_is_refused_wherever_it_is_given(part, head, filers):
    with pytest.raises(FilerError, match="absolute"):
        Filer(**{"headDirPath": head, part: "/x"})
    filer = filers(headDirPath=head)
    for call in (filer.remake, filer.exists):
        with pytest.raises(FilerError, match="absolute"):
            call(**{part: "/x"})


def test_a_path_is_remade_without_touching_ones_own(head, filers):
    filer = filers(name="a", headDirPath=head)

    path, file = filer.remake(name="b", base="c", filed=True, fext="log")

    assert path == f"{head}/hio/c/b.log"
    assert not file.closed
    file.close()
    assert (filer.path, filer.file) == (f"{head}/hio/a", None)
    assert filer.remake(name="q", extensioned=True) == (f"{head}/hio/q.text", None)
    assert mode(filer.remake(name="d", perm=0o700)[0]) == "0o700"
    with pytest.raises(TypeError, match=r"remake.* 'bogus'"):
        filer.remake(name="e", bogus=1)


def test_what_is_there_is_found_under_the_head_or_the_home(head, filers, monkeypatch):
    monkeypatch.setattr(Filer, "AltHeadDirPath", f"{head}/home")
    filer = filers(name="a", headDirPath=head)
    Path(head, "home/.hio").mkdir(parents=True)
    Path(head, "home/.hio/b.text").touch()

    assert filer.exists(name="a")
    assert not filer.exists(name="b")
    assert filer.exists(name="b", extensioned=True)
    assert not filer.exists(name="a", clean=True)
    assert not filer.exists(name="a", headDirPath=f"{head}/other")


def test_a_file_is_kept_or_cleared_as_asked(head, filers):
    filer = filers(name="a", headDirPath=head, filed=True)
    filer.file.write("kept")
    filer.flush()
    assert Path(filer.path).read_text() == "kept"

    for reuse in (True, False):
        assert filer.reopen(reuse=reuse)
        assert filer.file.read() == "kept"
    assert filer.reopen(clear=True)
    assert filer.file.read() == ""
    assert filer.close()
    assert (filer.opened, filer.file.closed, Path(filer.path).exists()) == (False, True, True)
    filer.flush()
    assert filer.close(clear=True)
    assert (filer.file, Path(filer.path).exists()) == (None, False)
    assert Path(filer.path).parent.is_dir()


def test_a_folder_goes_with_all_that_is_in_it_when_cleared_and_stays_otherwise(head, filers):
    filer = filers(name="a", headDirPath=head)
    inside = Path(filer.path, "x")
    inside.mkdir()

    filer.close()
    assert inside.is_dir()
    filer.reopen()
    assert inside.is_dir()
    filer.close(clear=True)
    assert not Path(filer.path).exists()
    filer.close(clear=True)


def test_what_a_clean_path_held_is_gone_when_it_is_made(head, filers):
    Path(head, "hio/clean/a/old").mkdir(parents=True)

    filer = filers(name="a", headDirPath=head, clean=True)

    assert list(Path(filer.path).iterdir()) == []


def test_a_new_name_counts_once_the_old_path_is_given_up(head, filers):
    filer = filers(name="a", headDirPath=head)
    filer.name = "b"

    filer.reopen(reuse=True)
    assert filer.path == f"{head}/hio/a"
    filer.reopen(reuse=True, clear=True)
    assert filer.path == f"{head}/hio/b"


def test_a_temporary_folder_is_made_each_time_and_none_is_left(head, filers, monkeypatch):
    monkeypatch.setattr(Filer, "TempHeadDir", head)
    filer = filers(name="a", base="b", temp=True)
    first = filer.path

    assert Path(first).parts[-4].startswith("hio_")
    assert Path(first).parts[-4].endswith("_test")
    assert Path(first).parts[-3:] == ("hio", "b", "a")
    path, _none = filer.remake(name="other", temp=True)
    filer.close(clear=True)

    assert not Path(first).parents[2].exists()
    assert Path(path).is_dir()
    filer.reopen()
    assert filer.path != first


def test_where_the_head_cannot_be_the_home_is_taken_and_else_the_reason_is_told(
    head, filers, monkeypatch
):
    Path(head, "file").touch()
    monkeypatch.setattr(Filer, "AltHeadDirPath", f"{head}/home")
    assert filers(name="a", headDirPath=f"{head}/file").path == f"{head}/home/.hio/a"

    monkeypatch.setattr(Filer, "AltHeadDirPath", f"{head}/file")
    with pytest.raises(NotADirectoryError):
        filers(name="a", headDirPath=f"{head}/file")


def test_an_opener_gives_an_open_filer_and_removes_what_is_temporary(head, monkeypatch):
    monkeypatch.setattr(Filer, "TempHeadDir", head)

    with openFiler(name="a", filed=True) as filer:
        assert not filer.file.closed
        assert Path(filer.path).is_relative_to(head)
    assert list(Path(head).iterdir()) == []
    with openFiler(name="a", temp=False, headDirPath=head) as filer:
        pass
    assert Path(filer.path).is_dir()


@pytest.mark.parametrize("temp", [True, False])
def test_a_doer_keeps_a_filer_open_while_it_runs(temp, head, monkeypatch):
    monkeypatch.setattr(Filer, "TempHeadDir", head)
    filer = Filer(name="a", headDirPath=head, reopen=False)
    seen = []

    class Watching(FilerDoer):
        def recur(self, tyme):
            seen.append((self.filer.opened, Path(self.filer.path).is_dir()))
            return True

    Doist(doers=[Watching(filer)], temp=temp).do()

    assert seen == [(True, True)]
    assert not filer.opened
    assert Path(filer.path).exists() is not temp


# ------------------------------------------------------- as a peer's user and subclass see it


def test_a_peer_is_bound_where_its_subclass_says_and_cleared_as_it_says(head):
    cleared = []

    class Placed(PeerMemoer):
        def remake(self, *, base, **kwa):
            return super().remake(base=f"{base}placed", **kwa)

        def _clearPath(self):
            cleared.append(self.path)
            super()._clearPath()

    peer = Placed(name="p", headDirPath=head, reopen=True)
    path = f"{head}/hio/uxd/placed/p.uxd"

    assert (peer.opened, peer.path, peer.ls.getsockname()) == (True, path, path)
    assert peer.remake(name="q", base="", extensioned=True)[0] == f"{head}/hio/uxd/placed/q.uxd"
    cleared.clear()
    peer.close(clear=False)
    assert (cleared, Path(path).exists()) == ([], True)
    assert peer.reopen(clear=False, reuse=True)
    peer.close()
    assert (cleared, Path(path).exists()) == ([path], False)


def test_a_peer_is_a_filer_that_keeps_no_file(head):
    with_path = Peer(name="p", headDirPath=head, reopen=True)
    try:
        assert isinstance(with_path, Filer)
        assert (with_path.filed, with_path.extensioned, with_path.file) == (False, True, None)
        assert with_path.exists(name="p", extensioned=True)
        assert not with_path.exists(name="p")
        with_path._clearPath()
        assert not Path(with_path.path).exists()
        assert with_path.opened
    finally:
        with_path.close()
