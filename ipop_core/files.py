"""Files and folders that only their owner may touch, written so that a crash leaves the old or the new one."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from ipop_core.errors import ConfigError


def private_folder(folder: Path) -> Path:
    """Make `folder`, closed to everybody else (mode 0700); returns it.

    Raises ConfigError where it can't be made, is no folder, belongs to another user or is open to others: in a shared
    place such as /tmp somebody else may have made it first.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise ConfigError(str(folder), f"can't make this folder: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(str(folder), "is no folder; remove it")
    if found.st_uid != os.geteuid():
        raise ConfigError(str(folder), f"belongs to user {found.st_uid}, not to user {os.geteuid()} who runs this")
    if found.st_mode & 0o022:
        raise ConfigError(str(folder), f"others may write to it; run: chmod 700 {folder}")
    return folder


def write_private(path: Path, data: bytes, *, replace: bool = True, shared: bool = False) -> bool:
    """Write `path` whole and on disk, with mode 0600. With `replace` False an existing file stays: returns False.

    `shared`: in a folder with the set-group-id bit, the group may read it.

    Raises ConfigError when it can't be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                if shared and path.parent.stat().st_mode & stat.S_ISGID:
                    os.fchmod(file.fileno(), 0o640)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(path)
                return True
            path.hardlink_to(temporary)
            return True
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(str(path), f"can't be written: {error.strerror}") from None
