"""A datagram behind a block's others, of which any one that is lost can be made again.

It holds the exclusive or of the block's pieces, a shorter last one taken to end in zeros (as RFC 5109, section 7, does
for packets of RTP). So a block of n datagrams is lost when two of n + 1 are, and on a path that loses 1% of them at
random blocks may be several times as large for the same loss. What was made again is authenticated with its block, as
everything else in it is.

That the transport inside does not see such a loss hides a sign that the path is full (RFC 9265, section 5). So where
many datagrams are lost nothing is repaired (`repairing.py`), and what a full queue drops in a row is more than one of a
block's.
"""

from __future__ import annotations

from collections.abc import Sequence

from .block import Buffer


def parity(block: Buffer, size: int) -> bytes:
    """The exclusive or of a block's pieces, `size` bytes each."""
    return _sum(memoryview(block), size).to_bytes(size, "little")


def mended(starts: Sequence[int], chunks: Sequence[bytes], total: int, repair: bytes) -> bytes | None:
    """The block of `total` bytes, if one of its pieces is all that is missing, and has the size of `repair`.

    `chunks` are the parts that are there, in order, and `starts` where each begins; none overlap.
    """
    size, begin = len(repair), 0
    for start, chunk in zip(starts, chunks, strict=True):
        if start > begin:
            break
        begin += len(chunk)
    end = min(begin + size, total)
    if begin % size or sum(map(len, chunks)) + end - begin != total:
        return None
    block = bytearray(total)
    for start, chunk in zip(starts, chunks, strict=True):
        if begin < start < end:
            return None
        block[start : start + len(chunk)] = chunk
    missing = _sum(memoryview(block), size) ^ int.from_bytes(repair, "little")
    block[begin:end] = missing.to_bytes(size, "little")[: end - begin]
    return bytes(block)


def _sum(block: memoryview, size: int) -> int:
    total = 0
    for start in range(0, len(block), size):
        total ^= int.from_bytes(block[start : start + size], "little")
    return total
