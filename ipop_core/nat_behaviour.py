"""How a NAT behaves, by a probe that knows nothing of its rules: RFC 4787's terms, found in RFC 5780's manner.

The same probe classifies the routers of the laboratory (`lab/probe.py`) and the objects of the simulator
(`simulated_nat.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final, Protocol, TypeAlias

Address: TypeAlias = tuple[str, int]

FLOWS: Final = 5
"""New flows that show whether ports count up."""
FIRST_PORT: Final = 40_000


class Dependence(Enum):
    """Of a mapping or of a filter (RFC 4787, sections 4.1 and 5)."""

    INDEPENDENT = "endpoint-independent"
    ADDRESS = "address-dependent"
    ADDRESS_AND_PORT = "address-and-port-dependent"


class Server(Enum):
    """Who is asked in the world: two addresses, one of them with two ports."""

    FIRST = 0
    FIRST_OTHER_PORT = 1
    SECOND = 2


class Line(Protocol):
    """A client behind the NAT, and the servers outside."""

    def seen(self, port: int, server: Server) -> Address:
        """The address from which the server sees what the client sends from this port of its own."""
        ...

    def reaches(self, port: int, server: Server, mapped: Address) -> bool:
        """Whether what the server sends to `mapped` arrives at this port of the client's."""
        ...

    def turns(self, port: int, mapped: Address) -> Address | None:
        """The sender, as this port of the client's sees it, of what another port of the client sends to `mapped`."""
        ...


@dataclass(frozen=True)
class Behaviour:
    mapping: Dependence
    filtering: Dependence
    preserves_port: bool
    sequential: bool
    """Each new flow gets the next port."""
    hairpin: bool
    """An inner host reaches another by its outer address, and is seen by its own (RFC 4787, section 6)."""


def classify(line: Line) -> Behaviour:
    """Probe with ports of the client's that nothing else uses, from FIRST_PORT on."""
    ports = iter(range(FIRST_PORT, FIRST_PORT + 100))
    filtering = _filtering(line, next(ports))
    port = next(ports)
    seen = [line.seen(port, server) for server in Server]
    if len(set(seen)) == 1:
        mapping = Dependence.INDEPENDENT
    else:
        mapping = Dependence.ADDRESS if seen[0] == seen[1] else Dependence.ADDRESS_AND_PORT
    flows = [line.seen(next(ports), Server.FIRST)[1] for _ in range(FLOWS)]
    kept = flows == list(range(flows[0], flows[0] + FLOWS)) and seen[0][1] == port
    inside = next(ports)
    mapped = line.seen(inside, Server.FIRST)
    turned = line.turns(inside, mapped)
    return Behaviour(
        mapping=mapping,
        filtering=filtering,
        preserves_port=kept,
        sequential=not kept and all(after - before == 1 for before, after in pairwise(flows)),
        hairpin=turned is not None and turned[0] == mapped[0],
    )


def _filtering(line: Line, port: int) -> Dependence:
    """Write to the first server alone, and see who gets an answer through; the first must."""
    mapped = line.seen(port, Server.FIRST)
    assert line.reaches(port, Server.FIRST, mapped), "not even the server that was written to gets through"
    if line.reaches(port, Server.SECOND, mapped):
        return Dependence.INDEPENDENT
    return Dependence.ADDRESS if line.reaches(port, Server.FIRST_OTHER_PORT, mapped) else Dependence.ADDRESS_AND_PORT
