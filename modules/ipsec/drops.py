"""What the kernel's IPsec dropped in this network namespace, and why (linux/Documentation/networking/xfrm_proc.rst)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_COUNTERS: Final = Path("/proc/net/xfrm_stat")
_LINE: Final = re.compile(r"^Xfrm(\w+)\s+(\d+)$", re.MULTILINE)
_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def read_drops() -> dict[str, int]:
    """Packets by cause, such as `in_no_pols`: `XfrmInNoPols`. Empty where the kernel does not count them."""
    try:
        return parse_drops(_COUNTERS.read_text())
    except OSError:
        return {}


def parse_drops(text: str) -> dict[str, int]:
    return {_WORD.sub("_", name).lower(): int(count) for name, count in _LINE.findall(text)}
