"""How long a certificate is good for, whatever happens to the machine's date."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ipop_core.authority import verifying
from ipop_core.authority.peers import BadCertificate, PeerCertificate, read_certificate
from ipop_core.authority.verifying import Verifier
from tests.authority.makers import NOW, Authority, p256

TOWN = Authority()
DATE = NOW.timestamp()
YEAR = 31_536_000.0
DAY = 86_400.0


def certificate(days: int = 30) -> PeerCertificate:
    made = TOWN.member(p256(), "192.168.10.10", until=NOW + timedelta(days=days))
    return read_certificate(made.public_bytes(Encoding.DER))


def fault(verifier: Verifier, judged: PeerCertificate, date: float, now: float) -> str | None:
    try:
        verifier.verify(judged, date, now)
    except BadCertificate as error:
        return error.reason
    return None


@pytest.mark.parametrize("date", [DATE - YEAR, DATE + 10 * YEAR], ids=["back", "on"])  # the same on every worker
def test_one_that_was_good_stays_so_when_the_clock_is_set_until_its_time_has_passed(date: float) -> None:
    verifier, known = Verifier([TOWN.certificate]), certificate(days=30)
    assert fault(verifier, known, DATE, 1000.0) is None
    assert fault(verifier, known, date, 1010.0) is None
    assert fault(verifier, known, date, 1000.0 + 29.9 * DAY) is None
    wrong = "not-yet-valid" if date < DATE else "expired"
    assert fault(verifier, known, date, 1000.0 + 30.1 * DAY) == wrong
    assert fault(verifier, certificate(), date, 1010.0) == wrong


def test_one_that_was_refused_is_judged_anew_when_the_clock_is_right() -> None:
    verifier, known = Verifier([TOWN.certificate]), certificate()
    assert fault(verifier, known, DATE - YEAR, 0.0) == "not-yet-valid"
    assert fault(verifier, known, DATE, 0.0) is None


def test_it_ends_with_its_authority_s_own() -> None:
    verifier, known = Verifier([TOWN.certificate]), certificate(days=9999)
    left = (TOWN.certificate.not_valid_after_utc - NOW).total_seconds()
    assert fault(verifier, known, DATE, 0.0) is None
    assert fault(verifier, known, DATE, left - 10) is None
    assert fault(verifier, known, DATE + left + 10, left + 10) is not None


def test_those_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "MOST", 2)
    verifier, (first, *others) = Verifier([TOWN.certificate]), [certificate() for _ in range(3)]
    for each in (first, *others):
        assert fault(verifier, each, DATE, 0.0) is None
    assert fault(verifier, first, DATE - YEAR, 0.0) == "not-yet-valid"
    assert fault(verifier, others[-1], DATE - YEAR, 0.0) is None
