"""From a bootstrap's host to the endpoints to try, by the system's resolver and within a time limit."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import Final

from ipop_modules.signal.protocol.addresses import format_endpoint, interleave
from ipop_modules.signal.protocol.bootstrap import Bootstrap

TIME_LIMIT: Final = 4.0
MOST_ADDRESSES: Final = 8


class ResolveError(Exception):
    """Says in a line why a name gave no address."""


async def resolve(bootstrap: Bootstrap) -> list[str]:
    """Endpoints in the order in which they are to be tried, one at least. Raises ResolveError."""
    if _is_address(bootstrap.host):
        return [format_endpoint(bootstrap.host, bootstrap.port)]
    lookup = asyncio.get_running_loop().getaddrinfo(bootstrap.host, None, type=socket.SOCK_DGRAM)
    try:
        async with asyncio.timeout(TIME_LIMIT):
            answers = await lookup
    except TimeoutError:
        raise ResolveError(f"the name {bootstrap.host} was not resolved within {TIME_LIMIT:g} s") from None
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResolveError(f"can't resolve the name {bootstrap.host}: {reason}") from None
    addresses = interleave(str(sockaddr[0]) for *_, sockaddr in answers if "%" not in str(sockaddr[0]))
    if not addresses:
        raise ResolveError(f"the name {bootstrap.host} has no address")
    return [format_endpoint(address, bootstrap.port) for address in addresses[:MOST_ADDRESSES]]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
