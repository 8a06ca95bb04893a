"""What others ask of the directory: who owns an address or a name, who the members are, an address that is free."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeAlias

from ipop_core.bus.api import Bus, Call, JsonObject
from ipop_core.clock import boot_clock
from ipop_core.errors import IpopError
from ipop_core.namespace import Namespace
from ipop_modules.topology.protocol.effects import Allocated, Effect, Listed, Resolved
from ipop_modules.topology.protocol.machine import Machine
from ipop_modules.topology.protocol.names import read_name
from ipop_modules.topology.tally import LookupTally

MAX_WAITING: Final = 128
"""Lookups that may wait: the bus works on a bounded number of calls at once, and peers' messages are calls too."""
ANSWER_BEFORE: Final = 0.1
MAX_LISTED: Final = 4096
"""Members that one answer names: a message on the bus has its bound."""
_MEMBERS: Final = "members"
_ALLOCATION: Final = "allocation"

Perform: TypeAlias = Callable[[Iterable[Effect]], None]


class Directory:
    def __init__(self, bus: Bus, machine: Machine, namespace: Namespace | None, perform: Perform) -> None:
        self._bus = bus
        self._machine = machine
        self._namespace = namespace
        self._perform = perform
        self._waiting: defaultdict[Hashable, list[asyncio.Future[Any]]] = defaultdict(list)
        """By what they wait for."""
        self._listed: Listed | None = None
        """The last list of members, for who asks for a further page of it."""
        self.lookups: Final = LookupTally()

    def serve(self) -> None:
        self._bus.serve("resolve", self._resolve)
        self._bus.serve("resolve_name", self._resolve_name)
        self._bus.serve("members", self._members)
        self._bus.serve("allocate", self._allocate)

    def answer(self, effect: Resolved | Listed | Allocated) -> None:
        """Something that was asked for has come."""
        match effect:
            case Resolved():
                self.lookups.add(effect)
                self._settle(effect.subject, effect)
                if effect.source == "directory" and isinstance(effect.subject, bytes):
                    self._tell(effect, str(ip_address(effect.subject)))
            case Listed():
                self._listed = effect
                self._settle(_MEMBERS, effect)
            case Allocated():
                self._settle(_ALLOCATION, effect)

    async def _resolve(self, call: Call) -> JsonObject:
        text = call.body["address"]
        try:
            address = ip_address(text).packed
        except ValueError:
            raise IpopError(f"address: {text!r} is not an IP address such as 192.168.10.20") from None
        return {"address": text, **_found(await self._look_up(address, call))}

    async def _resolve_name(self, call: Call) -> JsonObject:
        try:
            name = read_name(call.body["name"])
        except ValueError as error:
            raise IpopError(f"name: {error}") from None
        found = await self._look_up(name, call)
        return {"name": name, "addresses": [str(ip_address(a)) for a in found.addresses], **_found(found)}

    async def _look_up(self, subject: bytes | str, call: Call) -> Resolved:
        fresh = call.body.get("fresh", False)
        found: Resolved = await self._ask(
            subject, call, lambda: self._machine.resolve(subject, boot_clock(), fresh=fresh)
        )
        return found

    async def _members(self, call: Call) -> JsonObject:
        after = bytes.fromhex(call.body.get("after", ""))
        if after and self._listed is not None:
            listed = self._listed
        else:
            listed = await self._ask(_MEMBERS, call, lambda: self._machine.list_members(boot_clock()))
        behind = [member for member in listed.members if member.node > after]
        members = behind[:MAX_LISTED]
        return {
            "certain": listed.certain,
            "more": len(members) < len(behind),
            "nodes": [member.node.hex() for member in members],
            "members": [
                {
                    "node": member.node.hex(),
                    "name": member.name or None,
                    "addresses": [str(ip_address(address)) for address in member.addresses],
                }
                for member in members
            ],
        }

    async def _allocate(self, call: Call) -> JsonObject:
        text, wanted = call.body["network"], call.body.get("wanted")
        try:
            network = ip_network(text)
            before = None if wanted is None else ip_address(wanted).packed
        except ValueError as error:
            raise IpopError(f"allocate: {error}; expected a network such as 192.168.10.0/24") from None
        allocated: Allocated = await self._ask(
            _ALLOCATION, call, lambda: self._machine.allocate(network, before, boot_clock())
        )
        if allocated.address is None:
            raise IpopError(f"no address of {network} is free")
        return {"address": f"{ip_address(allocated.address)}/{network.prefixlen}"}

    async def _ask(self, what: Hashable, call: Call, ask: Callable[[], Iterable[Effect]]) -> Any:
        """Ask the machine, and wait for the effect that ends it, a little less than the requester does."""
        if self._namespace is None:
            raise IpopError("this node is in no namespace, so it knows no addresses")
        if sum(map(len, self._waiting.values())) >= MAX_WAITING:
            raise IpopError(f"{MAX_WAITING} lookups are under way already")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[what]
        waiting.append(future)
        self._perform(ask())
        try:
            async with asyncio.timeout(max(call.timeout - ANSWER_BEFORE, ANSWER_BEFORE)):
                return await future
        except TimeoutError:
            raise IpopError("the directory did not answer in time") from None
        finally:
            if future in waiting:
                waiting.remove(future)

    def _settle(self, what: Hashable, effect: Effect) -> None:
        for future in self._waiting.pop(what, ()):
            if not future.done():
                future.set_result(effect)

    def _tell(self, resolved: Resolved, address: str) -> None:
        node = None if resolved.node is None else resolved.node.hex()
        body = {"address": address, "node": node, "ms": round(resolved.took * 1000, 1)}
        self._bus.publish("topology.resolved", body)


def _found(resolved: Resolved) -> JsonObject:
    return {
        "node": None if resolved.node is None else resolved.node.hex(),
        "certain": resolved.certain,
        "source": resolved.source,
        "lease_s": resolved.lease,
        **({"certificate": resolved.certificate.hex()} if resolved.certificate else {}),
    }
