"""What the directory says of a name or an address, turned into an answer."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

import dns.rcode

from ipop_core.bus.api import Bus, JsonObject
from ipop_core.errors import BusError
from ipop_modules.resolver.protocol.answering import Question, answer_with, answer_with_name, refuse
from ipop_modules.resolver.protocol.zones import Address, Zones

LOOKUP_LIMIT: Final = 4.0
"""Seconds for all that one answer takes; programs ask again after five."""


class Directory:
    def __init__(self, bus: Bus, count: Callable[[str], None]) -> None:
        self._bus = bus
        self._count = count

    async def answer(self, question: Question, zones: Zones) -> bytes:
        """To a question for a member's name or address."""
        try:
            if question.place.address is not None:
                return await self._name_of(question, question.place.address, zones)
            return await self._addresses_of(question, zones)
        except BusError as error:
            # What can't be a host name is refused there.
            return self._nothing(question, certain=error.code == "refused")

    async def _addresses_of(self, question: Question, zones: Zones) -> bytes:
        found = await self._ask("resolve_name", {"name": question.place.host})
        if found["node"] is None:
            return self._nothing(question, certain=found["certain"])
        # What a member says of itself leads no program out of the virtual network.
        addresses = [ip for ip in map(ip_address, found["addresses"]) if zones.holds(ip)]
        self._count("answered")
        return answer_with(question, addresses, found.get("lease_s"))

    async def _name_of(self, question: Question, address: Address, zones: Zones) -> bytes:
        """The name whose owner has that address and says so: what anybody lists of himself is not enough."""
        listed = await self._ask("members", {})
        names = {item["name"] for item in listed["members"] if item["name"] and str(address) in item["addresses"]}
        for name in sorted(names):
            found = await self._ask("resolve_name", {"name": name})
            owner = await self._ask("resolve", {"address": str(address)})
            if found["node"] is not None and found["node"] == owner["node"] and str(address) in found["addresses"]:
                self._count("answered")
                return answer_with_name(question, found["name"], zones.domain, found.get("lease_s"))
        return self._nothing(question, certain=listed["certain"] and not listed.get("more"))

    def _nothing(self, question: Question, *, certain: bool) -> bytes:
        self._count("unknown" if certain else "failed")
        return refuse(question, dns.rcode.NXDOMAIN if certain else dns.rcode.SERVFAIL)

    async def _ask(self, action: str, body: JsonObject) -> JsonObject:
        return (await self._bus.request("topology", action, body, timeout=LOOKUP_LIMIT)).body
