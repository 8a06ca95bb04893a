"""Whether this machine's kernel can encrypt with ESP, found out by trying in a namespace."""

from __future__ import annotations

from typing import Final

from ipop_core.lab import namespace as namespaces
from ipop_core.lab.errors import LabError
from ipop_core.lab.names import RunName
from ipop_core.lab.namespace import Namespace
from ipop_core.lab.rights import Right

_STATE: Final = "src 127.0.0.1 dst 127.0.0.1 proto esp spi 0x1000 mode transport"
_CIPHER: Final = ("aead", "rfc4106(gcm(aes))", "0x" + "00" * 20, "128")
"""AES-128-GCM (RFC 4106): 16 bytes of key and 4 of salt."""


def esp_right() -> Right:
    """Install an association, leaving nothing behind."""
    trial = Namespace(RunName.of_this_process().of("esp"))
    try:
        trial.create()
        added = trial.run(["ip", "xfrm", "state", "add", *_STATE.split(), *_CIPHER], check=False)
    except (LabError, OSError) as error:
        return Right(False, f"whether this kernel has ESP can't be tried: {error}")
    finally:
        namespaces.delete([trial])
    if added.returncode != 0:
        return Right(False, f"this kernel has no ESP ({' '.join(added.stderr.split())})")
    return Right(True)
