"""Memory that loading a model took and does not need any more, given back to the system.

A library reads a file, builds its own form of it and frees the rest; glibc keeps the freed pages for itself. Of a
forest of 100 MB that is more than half a gigabyte for as long as the process lives.
"""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return what is free to the system, where the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
