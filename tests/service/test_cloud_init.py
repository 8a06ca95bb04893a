"""User-data for fresh machines: what it holds, what is refused, and what cloud-init itself says of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ipop_core.cli.main import cli

URL = "https://example.org/ipop.deb"


def ipop(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "vm.json"
    done = ipop("--node", "vm1", "init", "town", "10", "--secret", "--bootstrap", "192.0.2.1:4741", "-o", path)
    assert done.exit_code == 0, done.output
    return path


def read(printed: str) -> Any:
    first, _, rest = printed.partition("\n")
    assert first == "#cloud-config"
    return json.loads(rest)


def test_the_service_gets_the_configuration_without_this_machine_s_folders(configuration: Path) -> None:
    document = json.loads(configuration.read_text())
    document["node"] |= {"state": "state", "run": "run"}
    configuration.write_text(json.dumps(document))
    done = ipop("cloud-init", configuration, "--package", URL)
    assert "whoever can read it can join" in done.stderr
    (file,) = read(done.stdout)["write_files"]
    assert (file["path"], file["permissions"]) == ("/etc/ipop/vm1.json", "0600")
    written = json.loads(file["content"])
    assert written == {**document, "node": {"name": "vm1"}}
    assert "systemctl enable --now ipop@vm1" in read(done.stdout)["runcmd"][0][-1]


def test_a_member_of_an_authority_s_namespace_brings_its_certificate(tmp_path: Path, configuration: Path) -> None:
    folder, bundle = tmp_path / "ca", tmp_path / "vm1.pem"
    assert ipop("ca", "init", "town", "--dir", folder).exit_code == 0
    issued = ipop("ca", "issue", "vm1", "--address", "192.168.10.10", "--dir", folder, "-o", bundle)
    assert issued.exit_code == 0, issued.output
    document = json.loads(configuration.read_text())
    document["namespace"] = {"name": "town", "authority": str(bundle)}
    configuration.write_text(json.dumps(document))
    assert "--bundle" in ipop("cloud-init", configuration, "--package", URL).stderr
    made = read(ipop("cloud-init", configuration, "--package", URL, "--bundle", bundle).stdout)
    written, certificate = made["write_files"]
    assert json.loads(written["content"])["namespace"]["authority"] == "/var/lib/ipop/vm1/authority.pem"
    assert certificate["content"] == bundle.read_text()
    assert f"ca install {certificate['path']}\nrm {certificate['path']}" in made["runcmd"][0][-1]


@pytest.mark.parametrize("package", ["ipop.deb", "http://example.org/ipop.deb", f"{URL}#sha256=12", "https://a b"])
def test_a_package_that_could_be_anything_is_refused(configuration: Path, package: str) -> None:
    done = ipop("cloud-init", configuration, "--package", package)
    assert done.exit_code == 2
    assert done.stderr.startswith("ipop: --package: ")


def test_a_digest_is_checked_before_anything_is_installed(configuration: Path) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    made = read(ipop("cloud-init", configuration, "--package", f"file:///x.deb#sha256={digest}").stdout)
    fetch, check, install, *_ = made["runcmd"][0][-1].splitlines()
    assert (fetch.endswith("file:///x.deb"), digest in check, "apt-get install" in install) == (True, True, True)


@pytest.mark.slow
def test_cloud_init_itself_finds_it_sound(tmp_path: Path, configuration: Path) -> None:
    if shutil.which("cloud-init") is None:  # nobody's machine gets it for a test; `make package-test` asks it, too
        pytest.skip("no cloud-init")
    path = tmp_path / "user-data"

    def verdict(text: str) -> int:
        path.write_text(text)
        return subprocess.run(["cloud-init", "schema", "-c", path], capture_output=True, check=False).returncode

    made = ipop("cloud-init", configuration, "--package", URL).stdout
    assert verdict(made) == 0
    assert verdict(made.replace('"0600"', "600")) != 0
