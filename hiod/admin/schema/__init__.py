"""What boss and hiodctl say to each other: one table of methods, their roles, replies and errors.

Decides which methods there are, who may call them, what their parameters and replies are made of,
and what is wrong with parameters that do not fit. Leaves the carrying to ``framing`` and
``server`` and the obeying to the boss. The validator reads the table; JSON Schema, the Varlink text
and the reference page are drawn from it by ``drawing``.

``kinds`` has the types, ``answers``, ``asked`` and ``refused`` the records, ``table`` the methods,
``checking`` the validator. All of it is to be had from here: ``schema.Row``, ``schema.METHODS``.

Invariant: what is not in ``METHODS`` cannot be called, and what is not in ``ERRORS`` or
``SERVICE_ERRORS`` is not answered.

Units, everywhere: instants are ISO 8601 UTC strings (``2026-05-01T03:12:22.041Z``), names ending in
``_s`` are seconds, in ``_ms`` milliseconds, memory is bytes, CPU is percent of one core. ``null``
means nobody knows, or there is none.
"""

# ruff: noqa: F403 - these pages are one table, parted to be read; each name has one home
from hiod.admin.schema.answers import *
from hiod.admin.schema.asked import *
from hiod.admin.schema.checking import *
from hiod.admin.schema.kinds import *
from hiod.admin.schema.refused import *
from hiod.admin.schema.table import *
