"""Why a router makes no port mapping, in its own words: result codes of PCP and NAT-PMP."""

from __future__ import annotations

from typing import Final

_PCP: Final = (
    "SUCCESS",
    "UNSUPP_VERSION",
    "NOT_AUTHORIZED",
    "MALFORMED_REQUEST",
    "UNSUPP_OPCODE",
    "UNSUPP_OPTION",
    "MALFORMED_OPTION",
    "NETWORK_FAILURE",
    "NO_RESOURCES",
    "UNSUPP_PROTOCOL",
    "USER_EX_QUOTA",
    "CANNOT_PROVIDE_EXTERNAL",
    "ADDRESS_MISMATCH",
    "EXCESSIVE_REMOTE_PEERS",
)
"""RFC 6887, section 7.4."""
_NAT_PMP: Final = (
    "success",
    "unsupported version",
    "not authorized, or switched off",
    "network failure",
    "out of resources",
    "unsupported opcode",
)
"""RFC 6886, section 3.5."""

SILENT: Final = "no answer by PCP or NAT-PMP"


def pcp(result: int) -> str:
    return f"PCP: {_name(_PCP, result)}"


def nat_pmp(result: int) -> str:
    return f"NAT-PMP: {_name(_NAT_PMP, result)}"


def _name(names: tuple[str, ...], result: int) -> str:
    return names[result] if result < len(names) else f"result {result}"
