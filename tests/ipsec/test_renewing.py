"""What a real charon knows at every step while it is told something new: never a peer without the newest list."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ipop_core.lab import Laboratory, Namespace, capabilities
from ipop_modules.ipsec import negotiation as module
from ipop_modules.ipsec.credentials import Credentials
from ipop_modules.ipsec.negotiation import CardFacts, Listener, Negotiation
from ipop_modules.ipsec.settings import Settings
from ipop_modules.ipsec.vici_client import ViciClient, ViciMessage
from tests.authority.makers import Authority, p256
from tests.lab.conftest import require

pytestmark = [pytest.mark.net, pytest.mark.slow]
CARD = CardFacts("lo", 1, (ip_interface("192.168.10.10/28"), ip_interface("fd00::10/64")))
Held = frozenset[int]


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    require(capabilities().namespaces)
    with Laboratory() as lab:
        namespace = lab.namespace("renewing")
        namespace.ip("link set lo up", "addr add 192.168.10.10/28 dev lo")
        yield namespace


class Watched(ViciClient):
    """Notes after every command which lists charon has, when it has connections."""

    seen: list[tuple[str, Held]]
    before: Callable[[str], Awaitable[None]]

    async def command(self, name: str, message: Mapping[str, Any] | None = None) -> ViciMessage:
        await self.before(name)
        answer = await super().command(name, message)
        if await self.listed("list-conns", "list-conn"):
            self.seen.append((name, await numbers(self)))
        return answer


async def numbers(client: ViciClient) -> Held:
    found = await client.listed("list-certs", "list-cert", {"type": "X509_CRL"})
    lists = [x509.load_der_x509_crl(item["data"]) for item in found]
    return frozenset(item.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for item in lists)


Scenario = Callable[[Negotiation, "Town"], Awaitable[None]]


class Town:
    """An authority, and what one of its members has."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.key = p256()
        key = self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        lists = (self.authority.revoke(self._certificate()),)
        self.first = Credentials(self.issued(), key, (self.authority.certificate,), lists)

    def _certificate(self) -> x509.Certificate:
        return self.authority.member(self.key, "192.168.10.10", "fd00::10")

    def issued(self) -> bytes:
        return self._certificate().public_bytes(Encoding.DER)

    def revoked_another(self) -> Credentials:
        lists = (self.authority.revoke(self.authority.member(p256(), "192.168.10.11")),)
        return replace(self.first, revocations=lists)


@pytest.fixture
def run(namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], None]:
    async def nothing(_: str) -> None: ...

    monkeypatch.setattr(module, "ViciClient", Watched)
    monkeypatch.setattr(module, "START_SECONDS", 60.0)
    monkeypatch.setattr(Watched, "seen", [], raising=False)
    monkeypatch.setattr(Watched, "before", staticmethod(nothing), raising=False)

    async def begin(scenario: Scenario) -> None:
        negotiation = Negotiation(Settings(), tmp_path / "charon", CARD, Listener(lambda *_: None, lambda _: None))
        try:
            await scenario(negotiation, Town())
        finally:
            await negotiation.stop()

    return lambda scenario: namespace.call(lambda: asyncio.run(begin(scenario)))


async def known(negotiation: Negotiation) -> Held:
    assert negotiation._client
    return await numbers(negotiation._client)


def test_a_newer_list_takes_the_old_one_s_place_in_one_step(run: Callable[[Scenario], None]) -> None:
    async def scenario(negotiation: Negotiation, town: Town) -> None:
        await negotiation.start(town.first)
        assert await known(negotiation) == {1}
        charon = negotiation._client
        await negotiation.renew(town.revoked_another())
        assert negotiation._client is charon
        assert await known(negotiation) == {2}

    run(scenario)
    assert {held for _, held in Watched.seen} == {frozenset({1}), frozenset({2})}, Watched.seen


def test_a_new_certificate_takes_no_list_away(run: Callable[[Scenario], None]) -> None:
    async def scenario(negotiation: Negotiation, town: Town) -> None:
        await negotiation.start(town.first)
        renewed = replace(town.first, certificate=town.issued())
        await negotiation.renew(renewed)
        assert negotiation._client
        found = await negotiation._client.listed("list-certs", "list-cert", {"type": "X509"})
        certificates = [item["data"] for item in found]
        assert renewed.certificate in certificates
        assert town.first.certificate not in certificates
        assert negotiation.restarts == 0
        assert negotiation.fault is None

    run(scenario)
    assert {held for _, held in Watched.seen} == {frozenset({1})}, Watched.seen


def test_a_fresh_charon_is_told_again_of_peers_that_none_prepared_beforehand(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(negotiation: Negotiation, town: Town) -> None:
        peer = ip_address("fd00::20")
        await negotiation.start(town.first)
        for credentials in (None, replace(town.first, certificate=town.issued())):
            if credentials is not None:
                await negotiation.renew(credentials)
            await negotiation.prepare({peer})
            assert negotiation._client
            told = await negotiation._client.listed("list-conns", "list-conn")
            assert any(name.endswith(f"-{peer}") for item in told for name in item), told

    run(scenario)


def test_a_list_that_comes_while_charon_begins_is_not_forgotten(run: Callable[[Scenario], None]) -> None:
    async def scenario(negotiation: Negotiation, town: Town) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def before(name: str) -> None:
            if name == "load-conn" and not go_on.is_set():
                begun.set()
                await go_on.wait()

        Watched.before = staticmethod(before)  # type: ignore[assignment]
        starting = asyncio.create_task(negotiation.start(town.first))
        await begun.wait()
        renewing = asyncio.create_task(negotiation.renew(town.revoked_another()))
        await asyncio.sleep(0)
        go_on.set()
        await renewing
        starting.cancel()
        assert await known(negotiation) == {2}

    run(scenario)
    assert {held for _, held in Watched.seen} == {frozenset({2})}, Watched.seen
