"""What the kernel has counted on a card."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_DEVICES: Final = Path("/proc/net/dev")
"""Of the network namespace that this process is in; /sys/class/net may be another's."""


def card_figures(name: str) -> dict[str, int] | None:
    """Packets and bytes that programs sent into a card, and that it handed to them; None where no kernel counts.

    A super-frame, which the kernel leaves whole for its offloads, is one packet here. `dropped_out` are packets that
    programs sent while the card's queue was full.
    """
    try:
        return read_devices(_DEVICES.read_text(encoding="ascii"), name)
    except OSError:
        return None


def read_devices(text: str, name: str) -> dict[str, int] | None:
    """The same from the text of /proc/net/dev: eight figures of what the card received, eight of what it was sent."""
    for line in text.splitlines():
        device, colon, figures = line.partition(":")
        if colon and device.strip() == name:
            numbers = [int(figure) for figure in figures.split()]
            # What the kernel receives from the card is what came in over the overlay.
            return {
                "bytes_in": numbers[0],
                "packets_in": numbers[1],
                "bytes_out": numbers[8],
                "packets_out": numbers[9],
                "dropped_out": numbers[11],
            }
    return None
