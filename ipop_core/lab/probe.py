"""What a home's router does, asked with real datagrams: a `Line` of `nat_behaviour.py`."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from types import TracebackType
from typing import Final

from ipop_core.lab.host import Host
from ipop_core.nat_behaviour import Address, Server

SERVER_PORT: Final = 3478
PATIENCE: Final = 2.0
"""Seconds that a datagram may take that must arrive."""
SILENCE: Final = 0.15
"""Seconds after which one that has not come is taken to have been refused."""
ANOTHER_PORT: Final = 45_000


class Probe:
    """A client and two servers, the servers outside its NAT; to be used in a `with` block."""

    def __init__(self, client: Host, first: Host, second: Host) -> None:
        self._client: Final = client
        self._places: Final = {
            Server.FIRST: (first, SERVER_PORT),
            Server.FIRST_OTHER_PORT: (first, SERVER_PORT + 1),
            Server.SECOND: (second, SERVER_PORT),
        }
        self._stack: Final = ExitStack()
        self._servers: Final[dict[Server, socket.socket]] = {}
        self._clients: Final[dict[int, socket.socket]] = {}

    def __enter__(self) -> Probe:
        with self._stack as stack:
            for server, (host, port) in self._places.items():
                self._servers[server] = stack.enter_context(_open(host, port))
            stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in (*self._servers.values(), *self._clients.values()):
            opened.close()

    def seen(self, port: int, server: Server) -> Address:
        asked = self._servers[server]
        self._port(port).sendto(b"what is my address?", asked.getsockname())
        source: Address = asked.recvfrom(100)[1]
        return source

    def reaches(self, port: int, server: Server, mapped: Address) -> bool:
        return self._send(self._servers[server], port, mapped) is not None

    def turns(self, port: int, mapped: Address) -> Address | None:
        return self._send(self._port(ANOTHER_PORT), port, mapped)

    def _send(self, sender: socket.socket, port: int, mapped: Address) -> Address | None:
        """Send to `mapped`; who the client's port sees it come from, None where it sees nothing."""
        client = self._port(port)
        sender.sendto(b"hello", mapped)
        client.settimeout(SILENCE)
        try:
            source: Address = client.recvfrom(100)[1]
        except TimeoutError:
            return None
        finally:
            client.settimeout(PATIENCE)
        return source

    def _port(self, port: int) -> socket.socket:
        if port not in self._clients:
            self._clients[port] = _open(self._client, port)
        return self._clients[port]


def _open(host: Host, port: int) -> socket.socket:
    def open_bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE)
        sock.bind((host.address, port))
        return sock

    return host.namespace.call(open_bound)
