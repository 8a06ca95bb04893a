"""All members of the namespace, as the directory lists them: page by page, for a message on the bus has its bound."""

from __future__ import annotations

from typing import Final

from ipop_core.bus.api import Bus, JsonObject

MAX_PAGES: Final = 16


async def list_members(bus: Bus) -> tuple[list[bytes], bool]:
    """Their node ids, and whether that is certain; else others may be missing. Raises BusError."""
    nodes: list[str] = []
    after: JsonObject = {}
    for _ in range(MAX_PAGES):
        page = (await bus.request("topology", "members", after)).body
        nodes += page["nodes"]
        if not page.get("more") or not page["nodes"]:
            break
        after = {"after": nodes[-1]}
    return [bytes.fromhex(node) for node in nodes], page["certain"]
