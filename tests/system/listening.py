"""Counts what arrives on a UDP port, of a multicast group and of broadcasts, until standard input ends: JSON.

listening.py GROUP PORT ADDRESS: ADDRESS is the card's own.
"""

import json
import select
import socket
import sys

group, port, address = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.setsockopt(
        socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(address)
    )
    print("ready", flush=True)
    heard = []
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if listener in readable:
            data, (sender, _) = listener.recvfrom(2048)
            heard.append([data.decode(), sender])
            print("heard", data.decode(), flush=True)
            continue
        if not sys.stdin.readline():
            break
print(json.dumps(heard), flush=True)
