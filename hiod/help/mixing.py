"""The end of every cooperative constructor chain.

Decides one thing: a keyword that no class of the chain has taken is a mistake of the caller and
is named, not dropped.  Leaves everything else to the classes above it.  Invariant: when
``Mixin.__init__`` returns, every argument of the construction has been taken by someone.
"""

from typing import Any


class Mixin:
    """The last base of hiod's cooperative classes: takes no arguments and lets none vanish.

    hio 0.7.20 drops what is left over here; then ``Bosser(nmae="a")`` starts a boss called
    "boss".  Here it is a TypeError that names the leftover.
    """

    def __init__(self, *pa: Any, **kwa: Any) -> None:
        """End the chain.

        Raises:
            TypeError: an argument was given that no class of the chain takes.
        """
        if kwa:
            names = ", ".join(repr(name) for name in kwa)
            raise TypeError(f"{type(self).__name__}() takes no keyword argument {names}")
        if pa:
            raise TypeError(
                f"{type(self).__name__}() was given {len(pa)} positional argument(s) too many"
            )
        super().__init__()
