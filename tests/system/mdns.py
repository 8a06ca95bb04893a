"""Multicast DNS (RFC 6762) on a card, in a few lines.

mdns.py answer ADDRESS NAME    answers for the name until standard input ends, then says how many questions came
mdns.py ask ADDRESS NAME       asks until an answer comes; says the address in it, who sent it, and with what TTL
"""

import select
import socket
import sys
from ipaddress import IPv4Address

import dns.flags
import dns.message
import dns.rrset

GROUP, PORT = "224.0.0.251", 5353
IP_RECVTTL = 12
"""From linux/in.h; Python has no name for it."""

job, address, name = sys.argv[1:]
own = IPv4Address(address).packed
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as card:
    card.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    card.bind(("", PORT))
    card.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, IPv4Address(GROUP).packed + own)
    card.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
    card.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)  # section 11
    card.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    card.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    query = dns.message.make_query(name, "A", use_edns=False, id=0, flags=0)
    print("ready", flush=True)
    if job == "ask":
        while True:
            card.sendto(query.to_wire(), (GROUP, PORT))
            if select.select([card], [], [], 1.0)[0]:
                break
        data, [(_, _, ttl)], _, sender = card.recvmsg(9000, 64)
        (answer,) = dns.message.from_wire(data).answer
        print(answer.name, answer[0], sender[0], int.from_bytes(ttl, sys.byteorder), flush=True)
    else:
        questions = 0
        while card in select.select([card, sys.stdin], [], [])[0]:
            question = dns.message.from_wire(card.recv(9000))
            questions += 1
            if question.question == query.question:
                response = dns.message.make_response(question)
                response.flags |= dns.flags.AA
                response.answer.append(dns.rrset.from_text(query.question[0].name, 120, "IN", "A", address))
                card.sendto(response.to_wire(), (GROUP, PORT))
        print(questions, flush=True)
