"""Whether this machine's programs ask the node for members' names, for `ipop doctor`."""

from __future__ import annotations

from collections.abc import Sequence

from ipop_core.bus.api import JsonObject
from ipop_core.contract import CheckContext, Finding
from ipop_modules.resolver.resolved import NOT_THERE, TOLD
from ipop_modules.resolver.settings import Settings


def examine(context: CheckContext) -> Sequence[Finding]:
    settings: Settings = context.settings
    return [judge(settings, context.ask("resolver", "status") if context.running else None)]


def judge(settings: Settings, status: JsonObject | None) -> Finding:
    """`status`: what the module says of itself; None where it does not run."""
    check, domain = f"names in {settings.domain}", settings.domain
    if status is None:
        return Finding(check=check, verdict="unknown", found="there is no node that answers", mend="ipop up")
    if not status["listening"]:
        found = "the card has no address yet to answer at"
        return Finding(check=check, verdict="warning", found=found, mend="ipop status says what the directory lacks")
    where = ", ".join(status["listening"])
    state = status["systemd_resolved"]
    if state == TOLD:
        return Finding(check=check, verdict="good", found=f"systemd-resolved asks {where}")
    server, _, port = status["listening"][0].partition(" port ")
    if state == NOT_THERE:
        found = f"answered at {where}; no systemd-resolved runs here that could be told"
        mend = f"have this machine's resolver ask there: with dnsmasq, server=/{domain}/{server}#{port}"
    else:
        found = f"answered at {where}, but systemd-resolved was not told: {state}"
        mend = f"as root: resolvectl dns CARD {server}:{port}; resolvectl domain CARD '~{domain}'"
    return Finding(check=check, verdict="warning", found=found, mend=mend)
