"""This node's WireGuard key: made on the node, kept in its state folder, and never anywhere else."""

import base64
import binascii
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ipop_core.errors import ConfigError
from ipop_core.files import write_private
from ipop_wireguard.peers import KEY_SIZE

FILE = "wireguard.key"


def load_or_create(folder: Path) -> tuple[Path, bytes]:
    """The file that holds the private key as `wg` reads it (mode 0600), and the public key. Raises ConfigError."""
    path = folder / FILE
    fresh = base64.b64encode(X25519PrivateKey.generate().private_bytes_raw()) + b"\n"
    write_private(path, fresh, replace=False)
    try:
        private = base64.b64decode(path.read_bytes().strip(), validate=True)
    except (OSError, binascii.Error):
        private = b""
    if len(private) != KEY_SIZE:
        raise ConfigError(str(path), "holds no WireGuard key; remove it, and the node makes a new one")
    return path, X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
