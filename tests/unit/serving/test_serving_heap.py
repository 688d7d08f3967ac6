"""Freed memory goes back to the system when it is asked for."""

import ctypes

from trimtab_serving.heap import give_back
from trimtab_serving.metrics import resident_bytes

BLOCK = 100_000  # below what glibc would map by itself
MIB = 1 << 20


def test_what_was_freed_is_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    give_back()  # what tests before this one freed would be handed out again, and nothing would grow
    before = resident_bytes()
    blocks = [ctypes.c_void_p(libc.malloc(BLOCK)) for _ in range(1000)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    assert resident_bytes() - before > 80 * MIB
    # The last one stays where it is: with it at the end of the heap, free alone gives nothing back.
    for block in blocks[:-1]:
        libc.free(block)
    held = resident_bytes()
    give_back()
    assert held - resident_bytes() > 60 * MIB
    libc.free(blocks[-1])
