"""Who may come in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipop_core.errors import ConfigError
from ipop_modules.monitor.door import TOKEN_BYTES, is_safe_host, keep_token
from ipop_modules.monitor.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:4780", "[::1]", "[::1]:4780", "localhost:1", "10.0.0.7"])
def test_addresses_are_safe_hosts(host: str) -> None:
    assert is_safe_host(host)


OTHERS = """
evil.example evil.example:4780 localhost.evil.example 127.0.0.1.evil.example 127.0.0.1:4780:80 127.0.0.1@evil.example
[::1 [::1]x [::1]:x [127.0.0.1] ::1 LOCALHOST. \uff11.1.1.1
"""


@pytest.mark.parametrize("host", ["", *OTHERS.split()])
def test_names_of_others_are_not(host: str) -> None:
    assert not is_safe_host(host)


@given(st.text())
def test_any_host_is_judged(host: str) -> None:
    assert is_safe_host(host) in (True, False)


def test_the_token_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = keep_token(path)
    assert len(token) == TOKEN_BYTES * 4 // 3
    assert keep_token(path) == token
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_token_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for damage in (b"", b"short", b"\xff" * 24):
        path.write_bytes(damage)
        assert len(keep_token(path)) == TOKEN_BYTES * 4 // 3


@pytest.mark.parametrize("listen", ["127.0.0.1:70000", "1.2.3:80", "999.1.1.1:80", "[::g]:80"])
def test_a_bad_address_is_one_fault(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"modules\.monitor\.listen"):
        Settings(listen)
