"""Numbered UDP datagrams at a steady rate, both sent and received; a script that runs on a host of the laboratory.

    numbered.py OWN_ADDRESS PEER_ADDRESS PORT RATE COUNT

It prints `ready` when its socket is bound, and sends when it reads a line. At another, `stop`, it sends no more and
prints how many it has sent; it then reads how many the other side has. Either way it prints one JSON object
`{"sent": n, "received": [[number, monotonic], ...], "send_errors": n}` when it has all of the other side's, or LINGER
seconds later.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import Any

LINGER = 2.0


def main(own: str, peer: str, port: int, rate: int, count: int) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((own, port))
    sock.setblocking(False)
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.monotonic()
    sent = errors = 0
    expected = count
    received: list[tuple[int, float]] = []
    until = begun + count / rate + LINGER
    watched: list[Any] = [sock, sys.stdin]
    while (now := time.monotonic()) < until and (sent < count or len(received) < expected):
        while sent < count and begun + sent / rate <= now:
            try:
                sock.sendto(sent.to_bytes(8, "big") + bytes(92), (peer, port))
            except OSError:
                errors += 1
            sent += 1
        due = begun + sent / rate - now if sent < count else until - now
        ready = select.select(watched, [], [], max(due, 0.0))[0]
        if sock in ready:
            try:
                while True:
                    data = sock.recv(2048)
                    received.append((int.from_bytes(data[:8], "big"), time.monotonic()))
            except BlockingIOError:
                pass
        if sys.stdin in ready:
            match sys.stdin.readline().strip():
                case "":
                    watched.remove(sys.stdin)
                case "stop":
                    count = sent
                    print(sent, flush=True)
                case number:
                    expected, until = int(number), time.monotonic() + LINGER
    print(json.dumps({"sent": sent, "received": received, "send_errors": errors}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
