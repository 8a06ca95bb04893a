"""Numbered UDP datagrams at a steady rate, both sent and received; a script that runs on a host of the laboratory.

    numbered.py OWN_ADDRESS PEER_ADDRESS PORT RATE COUNT

It prints `ready` when its socket is bound, sends when it reads a line, and prints one JSON object
`{"sent": n, "received": [[number, monotonic], ...], "send_errors": n}` when it has all COUNT of the other side, or its
own last datagram was sent two seconds ago.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

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
    received: list[tuple[int, float]] = []
    until = begun + count / rate + LINGER
    while (now := time.monotonic()) < until and (sent < count or len(received) < count):
        while sent < count and begun + sent / rate <= now:
            try:
                sock.sendto(sent.to_bytes(8, "big") + bytes(92), (peer, port))
            except OSError:
                errors += 1
            sent += 1
        due = begun + sent / rate - now if sent < count else until - now
        if select.select([sock], [], [], max(due, 0.0))[0]:
            try:
                while True:
                    data = sock.recv(2048)
                    received.append((int.from_bytes(data[:8], "big"), time.monotonic()))
            except BlockingIOError:
                pass
    print(json.dumps({"sent": sent, "received": received, "send_errors": errors}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
