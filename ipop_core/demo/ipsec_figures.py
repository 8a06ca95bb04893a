"""What the demo's IPsec part measured, and whether it is as it ought to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class IpsecFigures:
    """Pings are Alice's to Bob, their payload is deadbeef; packets are what a capture on her card saw."""

    kernel: str
    """`own`, or `uml` where this machine's has no ESP."""
    sent: int
    received: int
    esp_packets: int
    plaintext_hits: int
    """Packets with deadbeef in them while both sides have IPsec on."""
    received_one_side_off: int
    sent_both_off: int
    received_both_off: int
    plaintext_hits_both_off: int

    def faults(self) -> Iterator[str]:
        """What is not as it ought to be."""
        if self.received < self.sent:
            yield f"{self.sent - self.received} of {self.sent} pings were lost with IPsec on"
        if self.esp_packets < self.sent:
            yield f"only {self.esp_packets} ESP packets were seen"
        if self.plaintext_hits:
            yield f"{self.plaintext_hits} packets could be read with IPsec on"
        if self.received_one_side_off:
            yield f"{self.received_one_side_off} pings were answered with IPsec off on one side"
        if self.received_both_off < self.sent_both_off:
            yield f"{self.sent_both_off - self.received_both_off} pings were lost with IPsec off on both sides"
        if not self.plaintext_hits_both_off:
            yield "the capture missed the pings with IPsec off, so it proves nothing"
