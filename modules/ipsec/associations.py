"""The security associations with each peer, as charon tells of them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from ipop_modules.ipsec.connections import peer_of

_BEGINNING: Final = (b"CREATED", b"CONNECTING")
_INSTALLING: Final = (b"CREATED", b"INSTALLING")


@dataclass(frozen=True, slots=True)
class Association:
    """What there is with one peer; seconds and bytes, counted since the last change of keys."""

    peer: str
    state: str
    """`protected` when packets can flow, otherwise IKE's own word, such as `connecting`."""
    age_s: int
    rekey_in_s: int | None
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int

    def show(self) -> dict[str, Any]:
        return asdict(self)


def read_associations(prefix: str, answers: Iterable[Mapping[str, Any]]) -> list[Association]:
    """From the events of `list-sas`; others' connections are left out, and of several with one peer the best counts."""
    found: dict[str, Association] = {}
    for answer in answers:
        for connection, sa in answer.items():
            peer = peer_of(prefix, connection)
            if peer is None:
                continue
            association = _association(peer, sa)
            if peer not in found or association.state == "protected":
                found[peer] = association
    return sorted(found.values(), key=lambda association: association.peer)


def is_under_way(answers: Iterable[Mapping[str, Any]], spis: Container[int]) -> bool:
    """Whether one of these events of `list-sas` is of keys that the kernel has, or that are being made.

    `spis` are those that the kernel has. What charon says counts for nothing where the kernel has no such keys.
    """
    return any(_is_under_way(sa, spis) for answer in answers for sa in answer.values())


def _is_under_way(sa: Mapping[str, Any], spis: Container[int]) -> bool:
    tasks = [*sa.get("tasks-active", ()), *sa.get("tasks-queued", ())]
    children = sa.get("child-sas", {}).values()
    return (
        sa.get("state") in _BEGINNING
        or b"CHILD_CREATE" in tasks
        or any(child.get("state") in _INSTALLING or _spi(child) in spis for child in children)
    )


def _spi(child: Mapping[str, Any]) -> int:
    """0 while it is not known."""
    try:
        return int(child.get("spi-out", b"0"), 16)
    except ValueError:
        return 0


def _association(peer: str, sa: Mapping[str, Any]) -> Association:
    installed = [child for child in sa.get("child-sas", {}).values() if child.get("state") == b"INSTALLED"]
    child: Mapping[str, Any] = max(installed, key=lambda item: _number(item, "uniqueid"), default={})
    return Association(
        peer=peer,
        state="protected" if child else sa.get("state", b"").decode(errors="replace").lower(),
        age_s=_number(child or sa, "install-time" if child else "established"),
        rekey_in_s=_number(child, "rekey-time") if "rekey-time" in child else None,
        bytes_in=_number(child, "bytes-in"),
        bytes_out=_number(child, "bytes-out"),
        packets_in=_number(child, "packets-in"),
        packets_out=_number(child, "packets-out"),
    )


def _number(item: Mapping[str, Any], key: str) -> int:
    try:
        return int(item.get(key, b"0"))
    except ValueError:
        return 0
