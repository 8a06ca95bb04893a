"""The seam between the card and the links: a frame, as both sides of tincan see it.

A block's plaintext is a run of frames. Every frame starts with the same eight bytes (network byte order):

    offset  size  field
    0       1     kind      CARD, RELAY, CONTROL or BROADCAST
    1       1     offload   for CARD: segmentation kind and the checksum flag; otherwise 0
    2       2     size      for CARD with segmentation: bytes of payload in each segment; otherwise 0
    4       4     length    bytes of body that follow

The body of a CARD frame is an Ethernet frame. The eight bytes lie exactly where the last eight of the ten bytes of a
virtio-net header lie, so a card can read into a block's plaintext with no copy. Of the virtio header only the
segmentation kind, its size and "the checksum is still to be filled in" travel: the receiver computes every other field
from the inner packet (`card/protocol/virtio.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, Protocol, TypeAlias

FRAME_HEADER: Final = Struct("!BBHI")
FRAME_HEADER_SIZE: Final = FRAME_HEADER.size

CARD: Final = 1
RELAY: Final = 2
CONTROL: Final = 3
BROADCAST: Final = 4

SEGMENT_NONE: Final = 0
SEGMENT_TCP4: Final = 1
SEGMENT_TCP6: Final = 2
SEGMENT_UDP: Final = 3
SEGMENT_MASK: Final = 0x0F
CHECKSUM_NEEDED: Final = 0x10
"""The sender's kernel left the TCP or UDP checksum to hardware: it holds the pseudo-header's sum only."""

MAX_FRAME: Final = 65_535 + 14
"""The longest Ethernet frame that a card hands over: one GSO packet of 64 KiB and its Ethernet header."""

NOTHING_WAITS: Final = -1

Refusal: TypeAlias = Callable[[memoryview], str]
"""Why an Ethernet frame must be dropped, as a counter's name; empty when it may pass."""


class CardGone(OSError):
    """The card was taken away: its descriptor will give nothing but this error."""


class Card(Protocol):
    """The card's door: a TAP in the kernel (`card/tap.py`) or a small IP endpoint in user space (`card/user.py`)."""

    @property
    def name(self) -> str: ...

    @property
    def mac(self) -> bytes:
        """Six bytes, computed from the node's id."""
        ...

    def fileno(self) -> int:
        """A descriptor that polls readable while frames wait."""
        ...

    def read(self, into: memoryview) -> int:
        """Fill `into` with one frame, header first; at least FRAME_HEADER_SIZE + MAX_FRAME bytes must be there.

        Returns the bytes filled, 0 when no frame waits. A frame that cannot travel (odd offload) is counted and
        skipped. Raises CardGone.
        """
        ...

    def read_more(self, view: memoryview, at: int, filled: int, limit: int) -> tuple[int, int]:
        """Read on behind the frame that `read` filled `view` with from `at`: frames of a flow are much alike.

        Returns where the last frame of that kind ends, at most at `limit`, and the bytes of another frame behind it; 0
        for none, NOTHING_WAITS where the card has no more. A card may read none.
        """
        ...

    def gather(self) -> None:
        """Until `flush`, frames may be held, to give the host several of a stream at once: they must not change."""
        ...

    def flush(self) -> None:
        """Give the host what is held."""
        ...

    def write(self, offload: int, size: int, frame: memoryview) -> bool:
        """Give one Ethernet frame to the host. False when it was dropped (invalid, or the host's queue is full)."""
        ...

    def write_train(self, run: memoryview, refusal: Refusal) -> int:
        """Give the datagrams that a run of frames, headers and all, begins with to the host at once, if they may pass.

        Returns the bytes of the run that were taken; 0, with nothing counted, where the frames must go one by one.
        """
        ...

    def close(self) -> None: ...
