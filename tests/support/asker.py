"""Doers of a hand that talks with one of hio's: run by a daemon's launcher, never by the tests."""

import hashlib

from hiod.base.doing import Doer

SIZES = (1, 1000, 26_000, 65_498, 65_499, 200_000, 1_000_000)


class Asker(Doer):
    """Sends memos of all sizes to a hand that echoes; its status says how many came back whole."""

    def __init__(self, crewer, to, **kwa):
        super().__init__(**kwa)
        self.crewer = crewer
        self.to = to
        self.sums = []
        self.good = 0

    def recur(self, tyme):
        addr = self.crewer.getAddr(self.to)
        if addr is not None and not self.sums:
            for size in SIZES:
                memo = chr(97 + size % 26) * size
                self.sums.append(hashlib.sha256(memo.encode()).hexdigest())
                self.crewer.memoit(memo, addr)
        inbox = self.crewer.inbox
        while inbox:
            memo, src, _vid = inbox.popleft()
            came = hashlib.sha256(memo.encode()).hexdigest()
            self.good += src == addr and came == self.sums[self.good]
        self.crewer.status(f"{self.good} of {len(SIZES)} came back")
        return False
