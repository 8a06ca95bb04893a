"""What a node keeps on disk: its state folder, its certificate and its authority's."""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cryptography import x509

from ipop_core.contract import Finding
from ipop_core.doctor.clock import SET_CLOCK
from ipop_core.identity import CERTIFICATE_FILE, KEY_FILE, UNREADABLE_CERTIFICATE

LEAST_FREE: Final = 16 * 1024 * 1024
NEAR_END: Final = datetime.timedelta(days=30)
OTHER_USER: Final = "run as root, or as the user who runs the node"
RENEW: Final = "have the authority issue a new one (ipop ca issue), and take it in: ipop ca install"


def examine_state(folder: Path) -> Finding:
    """Whether the node can write what it must not forget."""
    check = "state folder"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        found = f"{there} can't be written to: {error.strerror}"
        return Finding(check=check, verdict="bad", found=found, mend=_mend_state(there, error))
    free = os.statvfs(there)
    left = free.f_bavail * free.f_frsize
    if left < LEAST_FREE:
        found = f"{there} has {left // 1024} KiB left"
        return Finding(check=check, verdict="warning", found=found, mend=f"make room: df -h {there}")
    return Finding(check=check, verdict="good", found=str(folder))


def _mend_state(folder: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return OTHER_USER
    return f"findmnt -T {folder}, df -h {folder}: mount it for writing, or make room"


def stamps(folder: Path) -> dict[str, float]:
    """What the clock must not be behind (Unix seconds)."""
    made = {"this program": Path(__file__).stat().st_mtime}
    for name in (KEY_FILE, CERTIFICATE_FILE):
        path = folder / name
        try:
            made[str(path)] = path.stat().st_mtime
        except OSError:
            continue
    return made


def examine_certificates(folder: Path, authority: Path | None, now: datetime.datetime) -> Iterator[Finding]:
    """The node's own in `folder`, and those in its namespace's authority file."""
    yield _examine("certificate", folder / CERTIFICATE_FILE, now, RENEW)
    if authority is not None:
        yield _examine("authority", authority, now, "make a new authority (ipop ca init), and issue members new ones")


def _examine(check: str, path: Path, now: datetime.datetime, mend: str) -> Finding:
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
        first = min(certificates, key=lambda item: item.not_valid_after_utc)
    except FileNotFoundError:
        return Finding(check=check, verdict="good", found="none yet: the node makes one at its start")
    except OSError as error:
        found = f"{path} can't be read: {error.strerror}"
        return Finding(
            check=check, verdict="unknown", found=found, mend="run as root, or as the user who runs the node"
        )
    except UNREADABLE_CERTIFICATE:
        return Finding(check=check, verdict="bad", found=f"{path} holds no certificate in PEM", mend=mend)
    end, own = first.not_valid_after_utc, first.issuer == first.subject
    if own and check == "certificate":
        return Finding(check=check, verdict="good", found="signed by the node itself, which renews it")
    if now < first.not_valid_before_utc:
        found = f"{path} is valid from {first.not_valid_before_utc:%Y-%m-%d} on, and today is {now:%Y-%m-%d}"
        return Finding(check=check, verdict="bad", found=found, mend=SET_CLOCK)
    if end < now:
        return Finding(check=check, verdict="bad", found=f"{path} ended on {end:%Y-%m-%d}", mend=mend)
    left = (end - now).days
    if end < now + NEAR_END:
        found = f"{path} ends on {end:%Y-%m-%d}, in {left} days"
        return Finding(check=check, verdict="warning", found=found, mend=mend)
    return Finding(check=check, verdict="good", found=f"{path} ends on {end:%Y-%m-%d}, in {left} days")
