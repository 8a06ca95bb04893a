"""Host names: one label of a DNS name (RFC 1123, section 2.1), in lower case."""

import re

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def read_name(text: str) -> str:
    """Raises ValueError for what can't be one."""
    name = text.lower()
    if _LABEL.fullmatch(name) is None:
        raise ValueError(f"{text!r} is not a host name such as alice: 1 to 63 letters, digits and inner hyphens")
    return name
