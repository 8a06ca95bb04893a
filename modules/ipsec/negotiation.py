"""Keeps a charon running and told what it must know, and asks it for keys when the kernel wants some.

When charon dies, its associations stay in the kernel and go on carrying traffic. The next one knows nothing of them,
so new ones are made with the same peers at once, and an old one goes when its successor is there, or LEFTOVER_SECONDS
later. Nothing is ever sent unprotected meanwhile: the policies are none of charon's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from ipop_core.errors import IpopError
from ipop_core.identity import Address
from ipop_core.supervision.policy import RestartPolicy
from ipop_modules.ipsec.anchors import is_permitted, make_anchors
from ipop_modules.ipsec.associations import Association, is_under_way, read_associations
from ipop_modules.ipsec.charon import SOCKET, Charon
from ipop_modules.ipsec.connections import CHILD, Interface, Terms, connection, connection_name, peer_of, prepared_peers
from ipop_modules.ipsec.credentials import Credentials
from ipop_modules.ipsec.leftovers import tag_of
from ipop_modules.ipsec.settings import Settings
from ipop_modules.ipsec.vici_client import ViciClient, ViciError, ViciMessage
from ipop_modules.ipsec.wishes import Wishes
from ipop_modules.ipsec.xfrm import State, Xfrm

START_SECONDS: Final = 3.0
CONNECT_SECONDS: Final = 15.0
CONNECTIONS_AT_ONCE: Final = 64
LEFTOVER_SECONDS: Final = 10.0
_POLL: Final = 0.02

log = logging.getLogger("ipop.ipsec")


@dataclass(frozen=True)
class CardFacts:
    """The card that is protected; `tag` names its policies and states in the kernel."""

    name: str
    index: int
    interfaces: tuple[Interface, ...]

    @property
    def tag(self) -> int:
        return tag_of(self.name)


@dataclass(frozen=True)
class Listener:
    """Whom to tell: of a peer's association that came (True) or went, and of faults that are waited out."""

    association: Callable[[str, bool], None]
    fault: Callable[[str], None]


class Negotiation:
    def __init__(self, settings: Settings, folder: Path, card: CardFacts, listener: Listener) -> None:
        """`folder` is for a charon of our own."""
        self._settings = settings
        self._charon = None if settings.vici else Charon(settings.charon, folder, card.name)
        self._socket = Path(settings.vici) if settings.vici else folder / SOCKET
        self._tag = card.tag
        self._prefix = f"ipop-{card.tag:08x}"
        self._interfaces = card.interfaces
        self._listener = listener
        self._credentials: Credentials | None = None
        self._anchors: tuple[bytes, ...] = ()
        self._client: ViciClient | None = None
        self._known: set[Address] = set()
        self._waiting: set[Address] = set()
        """For whom keys were wanted while there was no charon."""
        self._wishes = Wishes(self._initiate, self._is_parted)
        self._parted: set[Address] = set()
        """Whose association ended while they were asked for keys."""
        self._leftovers: list[State] = []
        """What a charon that has gone left in the kernel."""
        self._policy = RestartPolicy()
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0
        self.fault: str | None = None

    async def start(self, credentials: Credentials) -> None:
        """Return once charon serves, or START_SECONDS later: nothing unprotected passes meanwhile.

        Raises IpopError when it can't be started at all.
        """
        self._credentials = credentials
        if self._charon is not None:
            await self._charon.start()
        first = asyncio.Event()
        self._task = asyncio.create_task(self._keep(first))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await first.wait()

    async def stop(self) -> None:
        """Say goodbye to every peer, and leave no keys in the kernel."""
        self._waiting |= await self._wishes.give_up()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        self._known.clear()
        if self._charon is not None:
            await self._charon.stop()
            self._leftovers = self._states()
        self._remove_leftovers()

    def want(self, peer: Address) -> None:
        """The kernel holds packets for this peer."""
        if any(peer in interface.network and peer != interface.ip for interface in self._interfaces):
            self._parted.discard(peer)
            self._wishes.want(peer)

    async def prepare(self, peers: set[Address]) -> None:
        """Expect these peers: those of a large subnet are not known beforehand."""
        client = self._client
        if client is not None:
            with contextlib.suppress(ViciError):
                await self._load_connections(client, peers - self._known)

    async def renew(self, credentials: Credentials) -> None:
        """Use these from now on. Every peer must prove itself anew, now; whoever can't is cut off.

        Raises IpopError when charon could not be told; trying again is safe.
        """
        old, self._credentials = self._credentials, credentials
        client = self._client
        if client is None or not (self._charon is None or old is None or _only_newer_lists(old, credentials)):
            # Charon has no command that takes back one certificate. To take back all would leave it without the lists
            # until it is told them again; so another one is told everything before it knows a single peer.
            await self.stop()
            await self.start(credentials)
            return
        if self._charon is None:
            await self._load_credentials(client, credentials)
            known, self._known = self._known, set()
            await self._load_connections(client, known)
        else:
            await self._load_lists(client, credentials)
        self._remove_leftovers()
        for association in await self.associations():
            name = connection_name(self._prefix, ip_address(association.peer))
            await client.command("terminate", {"ike": name, "force": "yes", "timeout": -1})

    @property
    def ready(self) -> bool:
        """Charon is there and knows what it must."""
        return self._client is not None

    async def associations(self) -> list[Association]:
        if self._client is None:
            return []
        return read_associations(self._prefix, await self._client.listed("list-sas", "list-sa"))

    async def _keep(self, first: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            try:
                await self._serve(first)
            except (IpopError, OSError) as error:
                self._has_fault(str(error))
            first.set()
            self._known.clear()
            await asyncio.sleep(self._policy.died(clock()))
            self.restarts += 1
            if self._charon is not None:
                try:
                    await self._charon.stop()
                    await self._charon.start()
                except (IpopError, OSError) as error:
                    self._has_fault(str(error))

    async def _serve(self, first: asyncio.Event) -> None:
        """From a charon that begins to one that has gone."""
        client = await self._connect()
        try:
            self._leftovers = self._states()
            await client.subscribe("child-updown")
            assert self._credentials is not None
            await self._load_credentials(client, self._credentials)
            peers = {state.destination for state in self._leftovers if self._is_peer(state.destination)}
            await self._load_connections(client, peers | self._prepared())
            self._client, self.fault = client, None
            self._policy.started(asyncio.get_running_loop().time())
            first.set()
            # Whoever still waits for what the charon before was asked would keep this one from being asked.
            given_up = await self._wishes.give_up()
            waiting, self._waiting = self._waiting | given_up, set()
            for peer in peers | waiting:
                self.want(peer)
            clean = asyncio.create_task(self._clean())
            log.info("charon serves", extra={"fields": {"socket": str(self._socket), "resumed": len(peers)}})
            try:
                await client.closed()
            finally:
                clean.cancel()
            raise IpopError(f"charon has gone{await self._charon.ending() if self._charon else ''}")
        finally:
            self._client = None
            if self._charon is None:
                await self._forget(client)
            await client.close()

    async def _connect(self) -> ViciClient:
        deadline = asyncio.get_running_loop().time() + CONNECT_SECONDS
        while True:
            try:
                return await ViciClient.connect(self._socket, self._event)
            except OSError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise IpopError(f"charon's socket {self._socket}: {error.strerror}") from None
            await asyncio.sleep(_POLL)

    async def _load_credentials(self, client: ViciClient, credentials: Credentials) -> None:
        await self._load_lists(client, credentials)
        await client.command("load-key", {"type": "any", "data": credentials.key})
        await client.command("load-cert", {"type": "X509", "flag": "NONE", "data": credentials.certificate})
        self._anchors = make_anchors(credentials.authorities)
        for anchor in self._anchors:
            await client.command("load-cert", {"type": "X509", "flag": "CA", "data": anchor})
        await client.command("flush-certs")

    async def _load_lists(self, client: ViciClient, credentials: Credentials) -> None:
        """Each takes the place of the older one of the same authority in one step."""
        for revocations in credentials.revocations:
            await client.command("load-cert", {"type": "X509_CRL", "flag": "NONE", "data": revocations.der})

    async def _load_connections(self, client: ViciClient, peers: set[Address]) -> None:
        credentials = self._credentials
        assert credentials is not None
        terms = Terms(self._tag, self._settings.rekey)
        if self._charon is None:
            terms = replace(terms, certificate=credentials.certificate, root=self._anchors[0])
        own = {peer: self._own_for(peer) for peer in peers if is_permitted(peer, credentials.authorities)}
        pairs = [(peer, address) for peer, address in own.items() if address is not None and address != peer]
        for start in range(0, len(pairs), CONNECTIONS_AT_ONCE):
            some = pairs[start : start + CONNECTIONS_AT_ONCE]
            told = {connection_name(self._prefix, peer): connection(terms, address, peer) for peer, address in some}
            await client.command("load-conn", told)
            self._known.update(peer for peer, _ in some)

    async def _initiate(self, peer: Address) -> None:
        """Ask for keys where none are there or being made."""
        client = self._client
        if client is None:
            self._waiting.add(peer)
            return
        try:
            if peer not in self._known:
                await self._load_connections(client, {peer})
            name = connection_name(self._prefix, peer)
            spis = {state.spi for state in self._states() if state.spi}
            if not is_under_way(await client.listed("list-sas", "list-sa", {"ike": name}), spis):
                await client.command("initiate", {"ike": name, "child": CHILD, "timeout": -1})
        except IpopError as error:
            log.info("no association", extra={"fields": {"peer": str(peer), "fault": str(error)}})

    def _is_parted(self, peer: Address) -> bool:
        """Its association ended since its keys were wanted, and nobody waits for others."""
        return peer in self._parted and not self._is_held(peer)

    def _is_held(self, peer: Address) -> bool:
        """The kernel holds packets for this peer: there is an association without keys."""
        return any(state.destination == peer and not state.spi for state in self._states())

    async def _forget(self, client: ViciClient) -> None:
        """In a charon that others use, leave nothing of ours but certificates, of which it can take back none.

        Its answers to what it was told last may never have been read, so it is asked what it has.
        """
        assert self._credentials is not None
        with contextlib.suppress(ViciError):
            await client.command("unload-key", {"id": self._credentials.key_id})
        with contextlib.suppress(ViciError):
            sas = await client.listed("list-sas", "list-sa")
            for name in _named(self._prefix, sas):
                await client.command("terminate", {"ike": name, "timeout": -1})
            connections = await client.listed("list-conns", "list-conn")
            for name in _named(self._prefix, connections):
                await client.command("unload-conn", {"name": name})

    async def _clean(self) -> None:
        """Give what a charon that has gone left its time: something better may take its place."""
        await asyncio.sleep(LEFTOVER_SECONDS)
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        old, self._leftovers = [state for state in self._leftovers if state.spi], []
        if old:
            spis = {state.spi for state in old}
            with Xfrm() as xfrm:
                xfrm.delete_states(old)
                xfrm.delete_policies(known for known in xfrm.negotiated_policies(self._tag) if known.spi in spis)

    def _event(self, event: str, message: ViciMessage) -> None:
        if event != "child-updown":
            return
        up = message.get("up") == b"yes"
        for connection_found in message:
            peer = peer_of(self._prefix, connection_found)
            if peer is not None:
                if not up:
                    self._parted.add(ip_address(peer))
                self._listener.association(peer, up)

    def _states(self) -> list[State]:
        with Xfrm() as xfrm:
            return xfrm.states(self._tag)

    def _prepared(self) -> set[Address]:
        return {peer for interface in self._interfaces for peer in prepared_peers(interface)}

    def _own_for(self, peer: Address) -> Address | None:
        return next((item.ip for item in self._interfaces if peer in item.network), None)

    def _is_peer(self, address: Address) -> bool:
        return all(address != interface.ip for interface in self._interfaces)

    def _has_fault(self, line: str) -> None:
        self.fault = line
        self._listener.fault(line)
        log.warning("IKE is away", extra={"fields": {"fault": line}})


def _named(prefix: str, answers: Iterable[ViciMessage]) -> set[str]:
    """The connections of ours among those that these events tell of."""
    return {name for answer in answers for name in answer if peer_of(prefix, name) is not None}


def _only_newer_lists(old: Credentials, new: Credentials) -> bool:
    numbers = {item.authority: item.number for item in new.revocations}
    return replace(new, revocations=old.revocations) == old and all(
        item in new.revocations or item.number < numbers.get(item.authority, -1) for item in old.revocations
    )
