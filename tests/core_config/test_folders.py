from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ipop_core import folders, pidfile
from ipop_core.errors import ConfigError, IpopError


@contextmanager
def another_process_holding(run: Path) -> Iterator[subprocess.Popen[str]]:
    code = (
        f"from ipop_core.pidfile import PidFile; from pathlib import Path; p = PidFile(Path({str(run)!r})); "
        "print('held', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPOP_STATE_ROOT", "IPOP_RUN_ROOT", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert (folders.state_folder("a"), folders.run_folder("a")) == (Path("/var/lib/ipop/a"), Path("/run/ipop/a"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/x")
    assert folders.state_folder("a") == Path("/home/x/.local/state/ipop/a")
    assert folders.run_folder("a") == Path("/tmp/ipop-1000/a")
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/r")
    assert (folders.state_folder("a"), folders.run_folder("a")) == (Path("/s/ipop/a"), Path("/r/ipop/a"))
    monkeypatch.setenv("IPOP_STATE_ROOT", "/s2")
    monkeypatch.setenv("IPOP_RUN_ROOT", "/r2")
    assert (folders.state_folder("a"), folders.run_folder("a")) == (Path("/s2/a"), Path("/r2/a"))


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a" * 41, "a\n"])
def test_node_names(name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 40 of a-z, 0-9 and -"):
        folders.run_folder(name)


def test_the_socket_path_must_fit() -> None:
    assert folders.bus_socket(Path("/" + "x" * 96)) == Path("/" + "x" * 96 + "/bus.sock")
    with pytest.raises(ConfigError, match="is 107 bytes long, and a socket's path has at most 106"):
        folders.bus_socket(Path("/" + "x" * 97))


def test_only_a_live_controller_counts(roots: Path) -> None:
    assert folders.running_nodes() == []
    for name in ("alice", "bob", "stale"):
        folders.make_run_folder(folders.run_folder(name))
    (roots / "run/stale/controller.pid").write_text("1\n")
    (roots / "run/NOT A NODE").mkdir()
    with another_process_holding(roots / "run/bob") as process:
        assert folders.running_nodes() == ["bob"]
        assert pidfile.holder(roots / "run/bob") == process.pid
        with pytest.raises(IpopError, match=rf"a controller \(pid {process.pid}\) runs this node already"):
            pidfile.PidFile(roots / "run/bob")
    assert folders.running_nodes() == []
    pidfile.PidFile(roots / "run/bob").close()


def test_asking_for_the_holder_does_not_disturb_a_start(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folders.make_run_folder(roots / "run/a")
    asker = os.open(run / "controller.pid", os.O_RDONLY | os.O_CREAT, 0o600)
    import fcntl

    fcntl.flock(asker, fcntl.LOCK_SH)
    monkeypatch.setattr(pidfile.time, "sleep", lambda _: os.close(asker))
    pidfile.PidFile(run).close()
