"""What first contact needs of this machine, for `ipop doctor`: names that resolve, and UDP to the bootstraps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from ipop_core.bus.api import JsonObject
from ipop_core.contract import Ask, CheckContext, Finding
from ipop_modules.signal.protocol.bootstrap import Bootstrap
from ipop_modules.signal.protocol.contact import LINKS_WANTED
from ipop_modules.signal.resolver import ResolveError, resolve
from ipop_modules.signal.settings import Settings

KIND: Final = "doctor"
PATIENCE: Final = 8.0
"""Seconds until each bootstrap has been tried once; three are tried at a time, for three seconds each."""
POLL: Final = 0.1


def examine(context: CheckContext) -> Sequence[Finding]:
    settings: Settings = context.settings
    if not settings.bootstraps:
        found = "none is configured: only nodes in the same LAN are found" if settings.lan else "none is configured"
        mend = 'modules.signal.bootstraps: ["HOST:4741"], a node that is there already'
        return [Finding(check="bootstraps", verdict="warning", found=found, mend=mend)]
    endpoints = asyncio.run(_resolve_all(settings.parsed))
    contacts = {contact["name"]: contact for contact in _contacts(context.ask)}
    findings = []
    for bootstrap in settings.parsed:
        resolved = endpoints[bootstrap.name]
        if not _is_address(bootstrap.host):
            findings.append(_judge_name(bootstrap.host, resolved))
        if not isinstance(resolved, ResolveError):
            findings.append(_judge(bootstrap, contacts.get(bootstrap.name), resolved, context.ask))
    return findings


async def _resolve_all(bootstraps: Sequence[Bootstrap]) -> dict[str, list[str] | ResolveError]:
    async def one(bootstrap: Bootstrap) -> list[str] | ResolveError:
        try:
            return await resolve(bootstrap)
        except ResolveError as error:
            return error

    found = await asyncio.gather(*map(one, bootstraps))
    return {bootstrap.name: answer for bootstrap, answer in zip(bootstraps, found, strict=True)}


def _judge_name(host: str, resolved: list[str] | ResolveError) -> Finding:
    check = f"name {host}"
    if isinstance(resolved, ResolveError):
        mend = f"getent ahosts {host}; then /etc/resolv.conf, or the address itself in modules.signal.bootstraps"
        return Finding(check=check, verdict="bad", found=str(resolved), mend=mend)
    return Finding(check=check, verdict="good", found=", ".join(resolved))


def _contacts(ask: Ask) -> list[JsonObject]:
    """The role's own word on each bootstrap, once it has tried those that it wants; none where nobody answers."""
    deadline = time.monotonic() + PATIENCE
    contacts: list[JsonObject] = []
    while (status := ask("signal", "status")) is not None:
        contacts = status["bootstraps"]
        connected = sum(contact["state"] == "connected" for contact in contacts)
        tried = all(contact["state"] in ("connected", "self") or contact["fault"] for contact in contacts)
        if tried or connected >= LINKS_WANTED or time.monotonic() > deadline:
            break
        time.sleep(POLL)
    return contacts


def _judge(bootstrap: Bootstrap, contact: JsonObject | None, endpoints: list[str], ask: Ask) -> Finding:
    check = f"bootstrap {bootstrap.name}"
    if contact is None:
        return Finding(check=check, verdict="unknown", found="there is no node to try it from", mend="ipop up")
    if contact["state"] == "self":
        return Finding(check=check, verdict="good", found="this node itself")
    if contact["state"] == "connected":
        return Finding(check=check, verdict="good", found=f"answers over UDP, as node {contact['node'][:12]}")
    fault = contact["fault"]
    if fault is None:  # others answered first, and the role leaves it alone
        node = _try(bootstrap, endpoints, ask)
        if node is not None:
            return Finding(check=check, verdict="good", found=f"answers over UDP, as node {node[:12]}")
        fault = "no answer"
    way = f"UDP to {bootstrap.host} port {bootstrap.port}"
    mend = f"let {way}, and the answers, pass the firewalls here and there; see whether that node runs"
    return Finding(check=check, verdict="bad", found=fault, mend=mend)


def _try(bootstrap: Bootstrap, endpoints: list[str], ask: Ask) -> str | None:
    """The node that answers there."""
    expected = {} if bootstrap.node is None else {"node": bootstrap.node}
    for endpoint in endpoints:
        answer = ask("link", "connect", {"endpoint": endpoint, "kind": KIND, **expected})
        if answer is not None:
            ask("link", "release", {"node": answer["node"], "kind": KIND})
            return str(answer["node"])
    return None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
