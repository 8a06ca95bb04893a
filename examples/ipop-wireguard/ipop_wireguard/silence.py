"""Notices peers to whom much is sent and from whom nothing comes: WireGuard itself tries on for ever."""

from collections.abc import Iterable
from ipaddress import ip_address

from ipop_wireguard.card import Address
from ipop_wireguard.tunnel import Figures

LOOKS = 3


class Silence:
    def __init__(self) -> None:
        self._before: dict[str, Figures] = {}
        self._looks: dict[str, int] = {}

    def look(self, figures: Iterable[Figures]) -> list[Address]:
        """The addresses of those who were silent at the last LOOKS looks, while something was sent to them."""
        silent: list[Address] = []
        looks: dict[str, int] = {}
        before, self._before = self._before, {item.key: item for item in figures}
        for key, now in self._before.items():
            then = before.get(key)
            if then is None or now.bytes_in != then.bytes_in or now.bytes_out <= then.bytes_out:
                continue
            looks[key] = self._looks.get(key, 0) + 1
            if looks[key] >= LOOKS:
                silent += [ip_address(text) for text in now.addresses]
                looks[key] = 0
        self._looks = looks
        return silent
