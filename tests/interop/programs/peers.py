"""A program for hio: two peers talk by memos, serviced by hand; also what a Filer does for them.

peers.py DIRECTORY
"""

import json
import sys
from pathlib import Path

from hio.base import Tymist
from hio.base.filing import Filer, openFiler
from hio.core.memo.memoing import Memoer, openMemoer
from hio.core.uxd.peermemoing import PeerMemoer, openPM
from hio.core.uxd.uxding import openPeer
from hio.help import Namer


def say(**facts):
    print(json.dumps(facts, sort_keys=True, default=str), flush=True)  # noqa: T201 - what it is for


def talk(head, curt, size):
    tymist = Tymist()
    ann = PeerMemoer(name="ann", headDirPath=head, curt=curt, size=size)
    bob = PeerMemoer(name="bob", headDirPath=head, size=size, reopen=True)
    ann.wind(tymist.tymen())
    bob.wind(tymist.tymen())
    say(before=ann.opened, path=ann.path, opened=ann.reopen(), bound=ann.path)
    for text in ("not short", "ü" * 40, "x" * 100):
        ann.memoit(text, bob.path)
    say(waiting=len(ann.txms), cut=len(ann.txgs))
    ann.serviceTxMemosOnce()
    say(waiting=len(ann.txms), cut=len(ann.txgs))
    ann.serviceAllTx()
    say(waiting=len(ann.txms), cut=len(ann.txgs), curt=ann.curt, size=ann.size, code=ann.code)
    bob.serviceReceivesOnce()
    say(partials=len(bob.rxgs), sources=sorted(bob.sources.values()))
    bob.service()
    while bob.inbox:
        memo, src, vid = bob.inbox.popleft()
        say(got=memo, src=src, vid=vid)
        bob.memoit(memo.upper(), src)
    for _ in range(3):
        bob.service()
        ann.service()
    say(answers=[memo for memo, _src, _vid in ann.inbox])
    for peer in (ann, bob):
        say(closed=peer.close(), gone=not Path(peer.path).exists(), opened=peer.opened)


def echo():
    with openMemoer(name="echo", echoic=True) as memoer:
        memoer.memoit("round", "there")
        memoer.service()
        memoer.service()
        say(echo=list(memoer.inbox), cls=type(memoer) is Memoer)
        grams = [bytearray(gram) for gram in memoer.rend("by hand")]
        binary = [memoer.wiff(gram) for gram in grams]
        picked = [memoer.pick(gram)[1:] for gram in grams]
        bodies = {number: bytes(gram) for number, gram in enumerate(grams)}
        say(binary=binary, picked=picked, fused=memoer.fuse(bodies, len(bodies)))


def paths(head):
    with openPeer(name="p", temp=False, headDirPath=head) as peer:
        datagram = b"datagram"
        say(sent=peer.send(datagram, peer.path), got=peer.receive(), none=peer.receive())
        say(remade=peer.remake(name="other", base="deep", headDirPath=head, extensioned=True))
        say(exists=peer.exists(name="p", headDirPath=head, extensioned=True))
    with openPM(name="pm", temp=True) as peer:
        say(temp=peer.temp, tail=peer.path.split("/")[-3:], is_filer=isinstance(peer, Filer))
    say(gone=not Path(peer.path).exists())
    with openFiler(name="f", temp=False, headDirPath=head, filed=True) as filer:
        filer.file.write("text")
        say(path=filer.path, mode=oct(Path(filer.path).stat().st_mode))
    say(kept=Path(filer.path).exists(), reopened=filer.reopen(reuse=True), text=filer.file.read())
    say(cleared=filer.close(clear=True), gone=not Path(filer.path).exists())


def names():
    namer = Namer(entries=[("a", "/a"), ("b", "/b")])
    say(
        added=[namer.addNameAddr("c", "/c"), namer.addNameAddr("c", "/c")],
        changed=[namer.changeAddrAtName(name="a", addr="/z"), namer.remNameAddr(addr="/b")],
        book=namer.addrByName,
        inverse=namer.nameByAddr,
        count=namer.countNameAddr,
    )


def main():
    head = sys.argv[1]
    talk(head, curt=False, size=None)
    talk(head, curt=True, size=None)
    talk(head, curt=False, size=60)
    echo()
    paths(head)
    names()


if __name__ == "__main__":
    main()
