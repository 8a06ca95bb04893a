"""Paths that lose datagrams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ipop_core.lab.host import Host
from ipop_core.lab.offloads import without_offloads


@contextmanager
def losing(sender: Host, receiver: Host, percent: int) -> Iterator[None]:
    """So many of the UDP datagrams that come to the receiver are dropped at random, while this lasts.

    The sender's card sends what a wire would carry from now on: what it gave its neighbour whole was lost whole.
    """
    sender.namespace.call(lambda: without_offloads(sender.interface))
    rule = f"meta l4proto udp numgen random mod 100 < {percent} drop"
    rules = f"table inet losing {{ chain input {{ type filter hook input priority -300\n{rule}\n}}\n}}"
    receiver.run(["nft", "-f", "-"], stdin=rules)
    try:
        yield
    finally:
        receiver.run(["nft", "delete", "table", "inet", "losing"])
