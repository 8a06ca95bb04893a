"""A stranger's module, from `pip install` to an answer on the bus, in an environment of its own."""

import json
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.installing import EXAMPLES, pip_options

pytestmark = pytest.mark.slow

EXAMPLE = EXAMPLES / "ipop-hello"
START_LIMIT = 20.0
PROGRAMS = {"ipop": "ipop_core.cli.main", "ipop-controller": "ipop_core.controller.main"}


class Environment:
    """A virtual environment with the example in it, that sees this project and its libraries but can't change them."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.python = folder / "bin" / "python"
        (site,) = folder.glob("lib/python*/site-packages")
        project = sysconfig.get_path("purelib")
        (site / "project.pth").write_text(f"import site; site.addsitedir({project!r})\n")
        source = folder / "source"  # a build writes into its source
        shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
        self._install(source)

    def _install(self, source: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python)]
        subprocess.run([*pip, "install", *pip_options(), str(source)], check=True)

    def command(self, program: str, *arguments: str) -> list[str]:
        start = f"from {PROGRAMS[program]} import main; main()"
        return [str(self.python), "-c", start, *arguments]

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(program, *arguments), capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("venv"))


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    return write_configuration(tmp_path, {"greeting": "Good day"})


def write_configuration(folder: Path, section: object) -> Path:
    path = folder / "controller.json"
    node = {"name": "hello", "state": "state", "run": "run"}
    path.write_text(json.dumps({"node": node, "modules": {"hello": section}}))
    return path


@pytest.fixture
def controller(environment: Environment, configuration: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(environment.command("ipop-controller", "-c", str(configuration)), cwd="/")
    try:
        wait_until_ready(environment, configuration, process)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_ready(environment: Environment, configuration: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        assert process.poll() is None, "the controller ended"
        modules = environment.run("ipop", "-c", str(configuration), "modules", "--json")
        if modules.returncode == 0 and json.loads(modules.stdout)[0]["state"] == "running":
            return
    raise AssertionError(f"not ready after {START_LIMIT} s: {modules.stdout}{modules.stderr}")


def test_its_configuration_is_checked_by_its_own_schema(environment: Environment, tmp_path: Path) -> None:
    good = environment.run("ipop-controller", "-c", str(write_configuration(tmp_path, {})), "--check")
    assert (good.returncode, good.stderr) == (0, "")
    assert "hello" in good.stdout
    bad = environment.run("ipop-controller", "-c", str(write_configuration(tmp_path, {"greting": "Hi"})), "--check")
    assert bad.returncode == 2
    assert bad.stderr == "modules.hello.greting: unknown key; did you mean greeting?\n"


def test_its_schema_is_part_of_the_whole_one(environment: Environment, configuration: Path) -> None:
    printed = environment.run("ipop-controller", "-c", str(configuration), "--print-schema")
    section = json.loads(printed.stdout)["properties"]["modules"]["properties"]["hello"]
    assert section["properties"]["greeting"]["default"] == "Hello"


def test_it_answers_on_the_bus_and_its_subcommand_asks_it(
    environment: Environment, configuration: Path, controller: subprocess.Popen[bytes]
) -> None:
    def hello(*arguments: str) -> subprocess.CompletedProcess[str]:
        return environment.run("ipop", "-c", str(configuration), "hello", *arguments)

    assert hello("Ada").stdout == "Good day, Ada!\n"
    assert json.loads(hello("Bob", "--json").stdout) == {"text": "Good day, Bob!", "count": 2}

    outside_the_contract = hello("x" * 101)
    assert outside_the_contract.returncode == 1
    assert "name" in outside_the_contract.stderr
    assert "Traceback" not in outside_the_contract.stderr

    refused = hello("\x1b")
    assert refused.returncode == 1
    assert "can't be printed" in refused.stderr

    controller.send_signal(signal.SIGTERM)
    assert controller.wait(10) == 0
    assert hello("Ada").returncode == 3
