"""Firewalls that stand between two homes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ipop_core.lab.home import Home


@contextmanager
def udp_blocked(one: Home, other: Home) -> Iterator[None]:
    """The two homes' routers pass no UDP between their public addresses, while this lasts."""
    pairs = [(home.router.wan, far) for home, far in ((one, other), (other, one)) if home.router]
    for router, far in pairs:
        passing = "".join(f"ip {end} {far.public_address} meta l4proto udp drop\n" for end in ("saddr", "daddr"))
        rules = f"table inet blocked {{ chain forward {{ type filter hook forward priority -300\n{passing}}}\n}}"
        router.run(["nft", "-f", "-"], stdin=rules)
    try:
        yield
    finally:
        for router, _ in pairs:
            router.run(["nft", "delete", "table", "inet", "blocked"])
