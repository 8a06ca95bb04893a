"""A user namespace of one's own: root over one's own networks, for a user who is not root."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, NoReturn

from ipop_core.lab.commands import environment
from ipop_core.lab.errors import LabError

_MARK: Final = "IPOP_LAB_USER_NAMESPACE"

# `ip netns` keeps its names in /run/netns, which an ordinary user can't write; a /run of our own hides the machine's.
_PREPARE: Final = 'mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/netns && exec "$@"'


def unshare_command(argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` as root of a new user namespace, with networks, mounts and a /run of its own.

    The process keeps its pid all the way. Files made in it belong to the user who ran it.
    """
    unshare = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--"]
    return [*unshare, "sh", "-c", _PREPARE, "sh", *argv]


def is_inside() -> bool:
    """Whether this process was started by `enter_user_namespace`."""
    return _MARK in os.environ


def enter_user_namespace(argv: Sequence[str]) -> NoReturn:
    """Replace this process by `argv`, run as root of a user namespace of its own. Raises LabError.

    What the kernel refuses shows as the exit code and message of `unshare`; ask `capabilities()` before.
    """
    if is_inside():
        raise LabError("already in a user namespace of its own")
    command = unshare_command(argv)
    try:
        os.execvpe(command[0], command, {**environment(), _MARK: "1"})  # noqa: S606 - a list of words, so no shell
    except FileNotFoundError as error:
        raise LabError("unshare: command not found") from error
