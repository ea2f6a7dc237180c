"""Peers over real sockets."""

import errno
import json
import math
import os
import select
import shutil
import socket
import stat
import struct
import sys
import tempfile
from pathlib import Path

import pytest

from hiod.base.doing import Doer, Doist
from hiod.core.uxd import (
    Peer,
    PeerDoer,
    PeerMemoer,
    PeerMemoerDoer,
    bindMailbox,
    openPeer,
    openPM,
    uxding,
)
from hiod.errors import FilerError, SizeError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "paths.json").read_text())
ME = (os.getpid(), os.getuid(), os.getgid())
FULL = 11
"""datagrams a mailbox takes here before its senders must wait, see the fixture"""


@pytest.fixture(scope="module", autouse=True)
def queue_length():
    global FULL  # noqa: PLW0603 - a fact of the machine
    FULL = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 1


@pytest.fixture
def rundir():
    path = tempfile.mkdtemp(prefix="hu")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def umask():
    was = os.umask(0o022)
    yield
    os.umask(was)


@pytest.fixture
def pm(rundir):
    """Make open peer memoers by name, tyme moved by hand; close them at the end."""
    made = []

    def make(name, **kwa):
        peer = PeerMemoer(name=name, headDirPath=rundir, reopen=True, **kwa)
        assert peer.opened, peer.fault
        made.append(peer)
        return peer

    yield make
    for peer in made:
        peer.close()


def readable(fd, within_s=5.0):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def mode(path):
    return oct(stat.S_IMODE(Path(path).stat().st_mode))


# ------------------------------------------------------------------------- paths


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: v["label"])
def test_paths_and_modes_are_hios(vector, rundir, umask, monkeypatch):
    monkeypatch.setattr(Peer, "TempHeadDir", rundir)
    given = dict(vector["given"], headDirPath=rundir)
    if "error" in vector:
        with pytest.raises(FilerError, match="absolute"):
            Peer(**given)
        return

    peer = Peer(**given)
    assert peer.path is None
    assert peer.opened is False
    assert peer.reopen() is True
    path = Path(peer.path)

    shape = vector["path"].replace("<HEAD>", rundir).replace("<TMP>", rundir)
    if given.get("temp"):
        top = path.relative_to(rundir).parts[0]
        shape = shape.replace("hio_uxd_XXXXXXXX_test", top)
        assert len(top) == len("hio_uxd_XXXXXXXX_test")
        assert mode(Path(rundir, top)) == vector["top_mode"]
    else:
        assert mode(path.parent) == vector["parent_mode"]
    assert str(path) == shape
    assert mode(path) == vector["socket_mode"]
    assert peer.close(clear=True) is True
    assert not path.exists()
    assert peer.opened is False


def test_a_temporary_folder_goes_with_the_peer_unless_it_holds_something_else(rundir, monkeypatch):
    monkeypatch.setattr(Peer, "TempHeadDir", rundir)

    with openPeer(name="a", base="b0") as peer:
        assert peer.opened
    assert list(Path(rundir).iterdir()) == []
    with openPeer(name="a") as peer:
        Path(peer.path).with_name("other").touch()

    assert Path(peer.path).with_name("other").exists()


def test_defaults_are_hios():
    peer = PeerMemoer(name="x")

    defaults = VECTORS["class_defaults"]
    assert (peer.bc, peer.bs) == (defaults["bc_default"], defaults["bs_with_default_bc"])
    for name in ("HeadDirPath", "TailDirPath", "CleanTailDirPath", "AltTailDirPath", "Fext"):
        assert getattr(peer, name) == defaults[name]
    assert (peer.size, peer.curt, peer.code, peer.authic) == (65535, False, "bAAA", False)
    assert (peer.umask, peer.path, peer.opened, peer.name) == (None, None, False, "x")
    assert Peer(bs=7).bs == 7
    assert Peer().bs == 65535


@pytest.mark.parametrize("vector", VECTORS["length_limit"], ids=lambda v: v["path_length"])
def test_a_path_too_long_names_both_lengths(vector, rundir):
    length = vector["path_length"]
    room = length - len(f"{rundir}/hio/uxd/.uxd")
    peer = Peer(name="é" * (room // 2) + "x" * (room % 2), headDirPath=rundir)

    if vector.get("reopen"):
        assert peer.reopen() is True
        assert len(os.fsencode(peer.path)) == length
        peer.close()
    else:  # of 108 hio makes a peer that is opened and deaf
        with pytest.raises(SizeError, match=f"has {length} bytes, at most 107 fit"):
            peer.reopen()
        assert not peer.opened


def test_a_folder_that_cannot_be_made_falls_back_to_the_home(rundir, monkeypatch):
    Path(rundir, "file").touch()
    Path(rundir, "home").mkdir()
    monkeypatch.setenv("HOME", f"{rundir}/home")

    peer = Peer(name="x", headDirPath=f"{rundir}/file", reopen=True)

    assert peer.path == f"{rundir}/home/.hio/uxd/x.uxd"
    peer.close()
    clean = Peer(name="x", headDirPath=f"{rundir}/file", clean=True, reopen=True)
    assert clean.path == f"{rundir}/home/.hio/clean/uxd/x.uxd"
    clean.close()


def test_no_folder_at_all_is_a_fault_not_an_exception(rundir, monkeypatch):
    Path(rundir, "file").touch()
    monkeypatch.setenv("HOME", f"{rundir}/file")

    peer = Peer(name="x", headDirPath=f"{rundir}/file")

    assert peer.reopen() is False
    assert "cannot make a folder for 'x'" in peer.fault


# ------------------------------------------------------------------ whose path it is


def test_a_leftover_of_the_dead_is_taken_over(rundir):
    path = f"{rundir}/m.uxd"
    bindMailbox(path).close()
    assert Path(path).exists()

    with bindMailbox(path) as ls:
        assert ls.getsockname() == path


def test_a_peer_takes_a_leftover_over_at_once_where_hio_needs_to_be_told_twice(rundir):
    peer = Peer(name="m", headDirPath=rundir)
    Path(rundir, "hio/uxd").mkdir(parents=True)
    bindMailbox(f"{rundir}/hio/uxd/m.uxd").close()
    assert VECTORS["leftover_file"]["first_reopen"]["bound"] is False

    assert peer.reopen() is VECTORS["leftover_file"]["second_reopen"]["reopen"]

    assert peer.ls.getsockname() == peer.path
    peer.close()


def test_a_path_somebody_lives_at_is_left_alone(rundir):
    first = Peer(name="x", headDirPath=rundir, reopen=True)
    second = Peer(name="x", headDirPath=rundir)

    assert second.reopen() is False
    assert second.opened is False
    assert "cannot open 'x'" in second.fault
    assert "a process lives there" in second.fault
    assert second.reopen() is False
    second.close(clear=True)
    assert first.send(b"hello", first.path) == 5
    assert first.receive() == (b"hello", first.path)
    first.close()
    assert second.reopen() is True
    assert second.fault == ""
    second.close()


def test_a_file_or_a_stream_socket_in_the_way_is_left_alone(rundir):
    Path(f"{rundir}/f").write_text("dear data")
    with socket.socket(socket.AF_UNIX) as stream:
        stream.bind(f"{rundir}/s")
        stream.listen()

        with pytest.raises(OSError, match="it is there and is no socket"):
            bindMailbox(f"{rundir}/f")
        with pytest.raises(OSError, match="a process lives there"):
            bindMailbox(f"{rundir}/s")

    assert Path(f"{rundir}/f").read_text() == "dear data"


def test_a_mailbox_gets_the_mode_asked_for_whatever_the_umask(rundir, umask):
    with bindMailbox(f"{rundir}/a"):
        assert mode(f"{rundir}/a") == "0o600"
    os.umask(0o777)
    with bindMailbox(f"{rundir}/b", 0o660):
        assert mode(f"{rundir}/b") == "0o660"


def test_only_the_own_socket_file_is_removed(rundir):
    peer = Peer(name="x", headDirPath=rundir, reopen=True)
    Path(peer.path).unlink()
    with bindMailbox(peer.path):
        peer.close(clear=True)

        assert Path(peer.path).exists()


def test_closing_without_clearing_leaves_the_path_and_reopening_takes_it_again(rundir):
    peer = Peer(name="x", headDirPath=rundir, reopen=True)
    path = peer.path

    peer.close(clear=False)
    assert Path(path).exists() is VECTORS["file_kept_when_closed_without_clear"]
    assert peer.reopen(reuse=True) is True
    assert peer.path == path

    peer.close()
    assert not Path(path).exists()


def test_reopening_takes_new_settings_and_refuses_unknown_ones(rundir):
    peer = Peer(name="x")

    assert peer.reopen(headDirPath=rundir, fext="sock", clean=True) is True

    assert peer.path == f"{rundir}/hio/clean/uxd/x.sock"
    with pytest.raises(TypeError, match="'tmep'"):
        peer.reopen(tmep=True)
    peer.close()


def test_what_no_class_takes_is_named():
    with pytest.raises(TypeError, match="'nmae'"):
        PeerMemoer(nmae="x")


# ------------------------------------------------------------------ inherited sockets


def test_an_inherited_mailbox_keeps_its_path_and_what_is_queued(rundir):
    path = f"{rundir}/h.uxd"
    with bindMailbox(path) as ls, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.sendto(b"bAAAAAAB0A" + b"A" * 22 + b"waiting", path)
        peer = PeerMemoer(name="h", fd=os.dup(ls.fileno()))

        assert peer.reopen() is True
        assert peer.reopen(temp=True) is True
        peer.service()
        assert peer.path == path
        assert list(peer.inbox) == [("waiting", None, None)]
        assert peer.inbox[0].cred == ME
        peer.close(clear=True)

        assert Path(path).exists()
        assert peer.reopen() is False
        assert "is not bound anew" in peer.fault
        other.sendto(b"still there", path)


def test_an_inherited_descriptor_of_another_kind_is_refused_with_a_sentence(rundir):
    stream = socket.socket(socket.AF_UNIX)
    unbound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for sock in (stream, unbound):
        peer = Peer(name="h", fd=sock.fileno())

        assert peer.reopen() is False
        assert "no bound Unix datagram socket" in peer.fault
        sock.getsockname()  # still open
        sock.close()
        assert peer.reopen() is False


# ----------------------------------------------------------------------- who sent it


def test_the_kernel_says_who_sent_a_datagram(rundir):
    a, b = (Peer(name=name, headDirPath=rundir, reopen=True) for name in "ab")

    a.send(b"hello", b.path)

    assert b.receiveCred() == (b"hello", a.path, ME)
    assert b.receiveCred() == (b"", None, None)
    assert b.receive() == (b"", None)
    a.close()
    b.close()
    assert a.receiveCred() == (b"", None, None)
    with pytest.raises(OSError, match="'a' is closed"):
        a.send(b"x", "y")


def test_another_process_is_told_apart(pm):
    reader = pm("reader")
    pid = os.fork()
    if not pid:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"bAAAAAAB0A" + b"A" * 22 + b"child", reader.path)
        os._exit(0)
    os.waitpid(pid, 0)

    reader.service()

    assert reader.inbox[0].cred == (pid, *ME[1:])


def test_descriptors_sent_along_are_not_taken(rundir):
    peer = Peer(name="x", headDirPath=rundir, reopen=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        fds = struct.pack("2i", 0, 1)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
        sock.sendmsg([b"take these"], rights, 0, peer.path)

        assert peer.receiveCred() == (b"take these", None, ME)
        assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    peer.close()


def test_a_datagram_longer_than_the_buffer_is_dropped_not_cut(pm):
    reader, writer = pm("reader", bc=None, bs=100), pm("writer")

    writer.gramit(b"bAAAAAAB0A" + b"A" * 22 + b"x" * 100, reader.path)
    writer.memoit("fits", reader.path)
    writer.service()
    reader.service()

    assert [memo for memo, _src, _vid in reader.inbox] == ["fits"]
    assert reader.drops == {"cut-short": 1}


# ------------------------------------------------------------------------ full and gone


def test_a_memo_of_sixteen_megabytes_comes_whole_through_a_short_queue(pm):
    writer, reader = pm("writer"), pm("reader")
    memo = "0123456789abcdef" * (1024 * 1024)

    assert writer.memoit(memo, reader.path)
    while not reader.inbox:
        writer.service()
        reader.service()

    assert reader.inbox[0][0] == memo
    assert writer.deads == {}
    assert reader.drops == {}


@pytest.mark.parametrize("curt", [False, True])
def test_memos_of_all_sizes_come_in_order(pm, curt):
    writer, reader = pm("writer", curt=curt), pm("reader")
    sizes = [1, 8, 9, 100, 65502, 65503, 65504, 65511, 65512, 131006, 131007, 400_000]
    for size in sizes:
        writer.memoit("x" * size, reader.path)

    while len(reader.inbox) < len(sizes):
        writer.service()
        reader.service()

    assert [len(memo) for memo, _src, _vid in reader.inbox] == sizes


def test_one_full_peer_keeps_its_grams_and_delays_no_other(pm):
    writer, slow, quick = pm("writer"), pm("slow"), pm("quick")
    for number in range(FULL + 20):
        writer.memoit(f"{number}", slow.path)
    writer.memoit("through", quick.path)

    writer.service()
    quick.service()
    assert [memo for memo, _src, _vid in quick.inbox] == ["through"]
    assert writer.outboxDepth == 20
    assert writer.dueAt() == math.inf
    _own, room = writer.fds()
    assert not readable(room, 0)
    slow.service()
    assert readable(room)
    writer.service()
    while writer.outboxDepth:
        slow.service()
        assert readable(room)
        writer.service()
    slow.service()

    assert [memo for memo, _src, _vid in slow.inbox] == [f"{n}" for n in range(FULL + 20)]
    assert len(writer.fds()) == 1
    assert writer.deads == {}


def test_the_room_of_a_peer_that_died_full_is_not_awaited_for_ever(pm):
    writer, slow = pm("writer", maxAge=0.0), pm("slow")
    for _ in range(FULL + 1):
        writer.memoit("x", slow.path)
    writer.service()
    _own, room = writer.fds()

    slow.close()
    assert readable(room)
    writer.service()

    assert writer.deads == {"unreachable": 1}
    assert writer.fds() == (writer.ls.fileno(),)


def test_what_waits_goes_to_whoever_comes_to_live_at_the_path(pm, rundir):
    tyme = [0.0]
    writer = pm("writer")
    writer.wind(lambda: tyme[0])
    path = f"{rundir}/hio/uxd/late.uxd"

    writer.memoit("early", path)
    writer.service()
    assert writer.dueAt() == pytest.approx(0.1)
    late = pm("late")
    tyme[0] = 0.1
    writer.service()
    late.service()

    assert [memo for memo, _src, _vid in late.inbox] == ["early"]


def test_a_newcomer_at_a_full_dead_peers_path_is_found(pm):
    writer, old = pm("writer"), pm("peer")
    for number in range(FULL + 3):
        writer.memoit(f"{number}", old.path)
    writer.service()
    old.close(clear=False)
    new = pm("peer")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as crowd:
        for _ in range(FULL):
            crowd.sendto(b"crowd", new.path)

    writer.service()
    _own, room = writer.fds()
    assert not readable(room, 0)
    new.service()
    assert readable(room)
    writer.service()
    new.service()

    assert [memo for memo, _src, _vid in new.inbox] == [f"{n}" for n in range(FULL, FULL + 3)]


@pytest.mark.parametrize(
    ("dst", "reason"),
    [
        ("/" + "x" * 200, "bad-address"),
        ("a\ud800b", None),
        (7, "bad-address"),
        ("/dev/null/x", "ENOTDIR"),
        ("/dev/null", None),
    ],
)
def test_an_impossible_address_never_raises(pm, dst, reason):
    writer, reader = pm("writer", maxAge=0.0), pm("reader")

    writer.memoit("a", dst)
    writer.memoit("b", reader.path)
    writer.service()
    reader.service()

    assert len(reader.inbox) == 1
    assert sum(writer.deads.values()) == 1
    if reason:
        assert writer.deads == {reason: 1}


def test_a_gram_too_long_for_the_socket_is_a_dead_letter(pm, monkeypatch):
    monkeypatch.setattr(uxding, "SEND_ROOM", 0)
    writer, reader = pm("writer", bc=None, bs=1, size=300_000), pm("reader")
    writer.ls.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)

    writer.gramit(b"x" * 60_000, reader.path)
    writer.memoit("x" * 60_000, reader.path)
    while not reader.inbox:
        writer.service()
        reader.service()

    assert writer.deads == {"EMSGSIZE": 1}
    assert reader.inbox[0][0] == "x" * 60_000, "a memo is cut to fit"


def test_a_peer_that_does_not_read_long_memos_delays_no_short_ones(pm):
    writer, slow, quick = pm("writer"), pm("slow"), pm("quick")
    writer.wind(lambda: 0.0)
    writer.ls.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 212_992)  # a system's default most
    writer.memoit("x" * 1_000_000, slow.path)
    writer.service()
    assert writer.outboxDepth == 1

    writer.memoit("short", quick.path)
    writer.service()
    quick.service()

    assert [memo for memo, _src, _vid in quick.inbox] == ["short"]
    assert writer.dueAt() == pytest.approx(0.01)
    _own, room = writer.fds()
    assert not readable(room, 0)
    slow.service()
    assert readable(room)
    while not slow.inbox:
        writer.service()
        slow.service()
        assert writer.outboxDepth == 0 or readable(room)
    assert slow.inbox[0][0] == "x" * 1_000_000
    assert writer.fds() == (writer.ls.fileno(),)


def carry(writer, tyme, readers, done):
    """Serve all until ``done``; tyme goes on only when nobody has anything to do."""
    while True:
        for reader in readers:
            reader.service()
        if done():
            return
        writer.service()
        if not any(readable(fd, 0) for peer in (writer, *readers) for fd in peer.fds()):
            tyme[0] = max(tyme[0], writer.dueAt())
            assert tyme[0] < 30.0, "nothing left to wait for"


@pytest.mark.parametrize("silent", [1, 3])
def test_peers_that_do_not_read_long_memos_hold_up_no_long_memo_to_others(pm, monkeypatch, silent):
    monkeypatch.setattr(uxding, "SEND_ROOM", 213_000)  # what a system allows the unprivileged
    tyme = [0.0]
    writer, quick, other = pm("writer", bc=None, bs=1), pm("quick"), pm("other")
    writer.wind(lambda: tyme[0])
    silents = [pm(f"silent{number}") for number in range(silent)]
    memo = "x" * 200_000
    for peer in silents:
        for _ in range(5):
            writer.memoit(memo, peer.path)
    writer.service()

    for _ in range(20):
        writer.memoit(memo, quick.path)
        writer.memoit(memo, other.path)
    carry(writer, tyme, [quick, other], lambda: len(quick.inbox) == len(other.inbox) == 20)
    took = tyme[0]
    carry(writer, tyme, silents, lambda: all(len(peer.inbox) == 5 for peer in silents))

    assert took < 0.5
    assert tyme[0] < took + 1.1, "those that read again are found within a second"
    assert writer.outboxDepth == 0
    assert writer.deads == {}


def test_peers_that_do_not_read_short_memos_hold_up_nobody_however_long_their_queue(
    pm, monkeypatch
):
    monkeypatch.setattr(uxding, "SEND_ROOM", 5_000)
    tyme = [0.0]
    writer, quick = pm("writer", bc=None, bs=1), pm("quick")
    writer.wind(lambda: tyme[0])
    silents = [pm(f"silent{number}") for number in range(3)]
    for peer in silents:
        for _ in range(50):
            writer.memoit("x", peer.path)
    writer.service()

    for _ in range(50):
        writer.memoit("y", quick.path)
    carry(writer, tyme, [quick], lambda: len(quick.inbox) == 50)
    took = tyme[0]
    carry(writer, tyme, silents, lambda: all(len(peer.inbox) == 50 for peer in silents))

    assert took < 0.5
    assert writer.deads == {}


def test_the_last_flush_waits_for_room_but_not_longer_than_told(pm, rundir):
    writer, slow = pm("writer"), pm("slow")
    writer.wind(lambda: 0.0)
    for _ in range(FULL + 2):
        writer.memoit("x", slow.path)

    assert writer.drain(0.01) is False
    assert writer.outboxDepth == 2
    pid = os.fork()
    if not pid:
        for _ in range(FULL):
            slow.ls.recv(100)
        os._exit(0)
    assert writer.drain(10.0) is True
    os.waitpid(pid, 0)
    assert writer.outboxDepth == 0
    assert writer.drain(0.0) is True


def test_the_last_flush_tries_again_where_nobody_was(pm, rundir):
    writer = pm("writer")
    writer.wind(lambda: 0.0)
    writer.memoit("x", f"{rundir}/hio/uxd/nobody.uxd")

    assert writer.drain(0.15) is False

    assert writer.outboxDepth == 1


# ----------------------------------------------------------------------------- rogues


def test_whatever_a_rogue_sends_is_counted_and_the_next_memo_comes(pm):
    reader = pm("reader")
    rubbish = [
        b"",
        b"b",
        b"bAAK" + b"A" * 60,
        b"bAAI" + b"A" * 60,
        b"\xff" * 100,
        b"bAAAAAAB" + b"\xff" * 30,
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as rogue:
        for gram in rubbish:
            rogue.sendto(gram, reader.path)
        rogue.sendto(b"bAAAAAAB0A" + b"A" * 22 + b"ok", reader.path)

    reader.service()

    assert [memo for memo, _src, _vid in reader.inbox] == ["ok"]
    assert sum(reader.drops.values()) == len(rubbish)


def test_an_abstract_sender_has_an_address_that_can_be_answered(pm):
    reader = pm("reader")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0hiod-test-{os.getpid()}")
        sock.sendto(b"bAAAAAAB0A" + b"A" * 22 + b"hi", reader.path)

        reader.service()
        memo, src, _vid = reader.inbox.popleft()
        reader.memoit(memo, src)
        reader.service()

        assert sock.recv(100).endswith(b"hi")


def test_a_wire_log_hears_both_ways(rundir):
    class Log:
        def __init__(self):
            self.heard = []

        def writeRx(self, data, who):
            self.heard.append(("rx", data, who))

        def writeTx(self, data, who):
            self.heard.append(("tx", data, who))

    log = Log()
    peer = Peer(name="x", headDirPath=rundir, reopen=True, wl=log)

    peer.send(b"a", peer.path)
    peer.receive()

    assert log.heard == [("tx", b"a", peer.path), ("rx", b"a", peer.path)]
    peer.close()


def test_buffers_are_at_least_what_was_asked_for(rundir):
    peer = Peer(name="x", headDirPath=rundir)
    assert peer.actualBufSizes() == (0, 0)
    assert peer.fds() == ()

    peer.reopen()

    sent, received = peer.actualBufSizes()
    assert sent >= peer.bs
    assert received >= peer.bs
    assert peer.fds() == (peer.ls.fileno(),)
    peer.close()


def test_importing_the_transport_brings_nothing_heavy():
    code = (
        "import sys, hiod.core.uxd;"
        "print([m for m in ('logging','tempfile','asyncio','structlog','psutil','nacl','random',"
        "'subprocess','multiprocessing','pathlib') if m in sys.modules])"
    )
    read, write = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
    )
    os.close(write)
    with os.fdopen(read) as out:
        said = out.read()
    os.waitpid(pid, 0)

    assert said == "[]\n"


def test_openers_give_open_things_and_close_them():
    with openPM(name="a") as a, openPM(name="b") as b:
        a.memoit("hi", b.path)
        a.service()
        b.service()
        assert b.inbox.popleft() == ("hi", a.path, None)

    assert not a.opened
    assert not Path(a.path).exists()


def test_signed_memos_travel_between_peers(pm):
    pytest.importorskip("nacl")
    signed = json.loads((Path(__file__).parents[1] / "vectors" / "grams-signed.json").read_text())
    keep = {key["vid"]: (key["qvk"], key["qss"]) for key in signed["keys"]}
    vid = signed["keys"][1]["vid"]
    writer = pm("writer", code="bAAC", keep=keep, vid=vid)
    reader, stranger = pm("reader", authic=True, keep=keep), pm("stranger")

    writer.memoit("x" * 100_000, reader.path)
    writer.memoit("x", stranger.path)
    stranger.memoit("unsigned", reader.path)
    for peer in (writer, stranger, reader, stranger):
        peer.service()

    assert list(reader.inbox) == [("x" * 100_000, writer.path, vid)]
    assert reader.drops == {"unsigned": 1}
    assert stranger.drops == {"unverifiable": 1}


# ------------------------------------------------------------------------ under a Doist


def test_peers_under_one_doist_answer_each_other_without_a_busy_loop(pm):
    class Echo(PeerMemoer):
        def serviceRxMemos(self):
            while self.rxms:
                memo, src, _vid = self.rxms.popleft()
                self.memoit(memo.upper(), src)

    asker = pm("asker")
    echo = Echo(name="echo", headDirPath=asker.headDirPath)
    doist = Doist(real=True, limit=10.0, tock=0.03125)

    class Halter(PeerMemoerDoer):
        def recur(self, tyme):
            super().recur(tyme)
            if len(self.peer.inbox) == FULL + 5:
                doist.halt()
            return False

    class Sender(Doer):
        def recur(self, tyme):
            for number in range(FULL + 5):
                asker.memoit(f"m{number}", echo.path)
            return True

    doist.do(doers=[PeerMemoerDoer(echo), Halter(asker), Sender()])

    assert [memo for memo, _src, _vid in asker.inbox] == [f"M{n}" for n in range(FULL + 5)]
    assert doist.tyme < 5.0
    assert not echo.opened
    assert not Path(echo.path).exists()


@pytest.mark.parametrize(("doer", "cls"), [(PeerDoer, Peer), (PeerMemoerDoer, PeerMemoer)])
def test_a_doer_opens_its_peer_and_a_path_that_is_taken_stops_it(rundir, doer, cls):
    peer, rival = (cls(name="x", headDirPath=rundir) for _ in range(2))
    deed = doer(peer)(tymth=lambda: 0.0, tock=0.0)

    next(deed)
    assert peer.opened
    deed.send(0.0)
    with pytest.raises(FilerError, match="a process lives there"):
        next(doer(rival)(tymth=lambda: 0.0, tock=0.0))
    deed.close()

    assert not Path(peer.path).exists()


# --------------------------------------------------------------------- what is refused


def test_a_mailbox_in_a_missing_folder_is_refused_by_the_system(rundir):
    with pytest.raises(FileNotFoundError):
        bindMailbox(f"{rundir}/none/m.uxd")


def test_without_privilege_the_send_buffer_is_as_large_as_is_allowed(rundir, monkeypatch):
    monkeypatch.setattr(uxding, "_SO_SNDBUFFORCE", 1 << 20)  # no such option

    with bindMailbox(f"{rundir}/m.uxd") as ls:
        most = int(Path("/proc/sys/net/core/wmem_max").read_text())
        sent = ls.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert sent == 2 * min(uxding.SEND_ROOM, most)


def test_room_at_an_address_nobody_has_cannot_be_awaited(rundir):
    peer = Peer(name="x", headDirPath=rundir, reopen=True)

    assert peer.awaitRoom(f"{rundir}/nobody") == errno.ENOENT
    assert peer.awaitRoom("/" + "x" * 200) == errno.EINVAL
    assert peer.fds() == (peer.ls.fileno(),)
    peer.endRoom("never awaited")
    assert peer.awaitRoom(peer.path) == 0
    peer.close()
    assert peer.fds() == ()


def test_only_one_of_two_that_find_a_leftover_takes_it(rundir, monkeypatch):
    path = f"{rundir}/m.uxd"
    bindMailbox(path).close()
    rivals = []

    class Probe(socket.socket):
        def connect_ex(self, dst):
            code = super().connect_ex(dst)
            Path(path).unlink()
            rivals.append(bindMailbox(path))
            return code

    monkeypatch.setattr(socket, "socket", Probe)
    with pytest.raises(OSError, match="a process lives there"):
        bindMailbox(path)

    assert Path(path).exists()
    rivals[0].close()
