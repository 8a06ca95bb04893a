"""`ipop cloud-init`: user-data that makes a fresh virtual machine a node.

It is a cloud-config (cloud-init's own format), written as JSON, which is YAML too.
"""

from __future__ import annotations

import copy
import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

import click

from ipop_core.authority.membership import AUTHORITY_FILE, read_bundle
from ipop_core.config.build import Configuration, build
from ipop_core.config.document import read_document
from ipop_core.errors import ConfigError
from ipop_core.folders import SERVICE_FOLDER
from ipop_core.loader import Registry

SERVICE_STATE: Final = Path("/var/lib/ipop")
PACKAGE_FILE: Final = "/run/ipop.deb"
PACKAGE_URL: Final = re.compile(r"(?P<url>[a-z]+://[!$-~]+)(#sha256=(?P<digest>[0-9a-f]{64}))?")
_file = click.Path(path_type=Path)


@click.command("cloud-init")
@click.argument("path", metavar="CONTROLLER.JSON", type=_file)
@click.option("--package", required=True, metavar="URL[#sha256=HEX]", help="Where the machine finds IPOP's .deb.")
@click.option("--bundle", type=_file, metavar="FILE", help="The node's certificate and key, from: ipop ca issue")
def cloud_init(path: Path, package: str, bundle: Path | None) -> None:
    """Print user-data that makes a fresh virtual machine run CONTROLLER.JSON as a service.

    For Debian 12, by cloud-init. A package that does not come by https needs its SHA-256.
    """
    document = copy.deepcopy(read_document(path))
    configuration = build(document, path, Registry())
    configuration.check_settings()
    name = configuration.node.name
    section = document["node"]
    for key in ("state", "run"):  # the service has its own
        section.pop(key, None)
    if configuration.namespace is not None and configuration.namespace.authority is not None:
        if bundle is None:
            raise ConfigError(
                "--bundle", "the namespace has an authority: give what `ipop ca issue` wrote for this node"
            )
        document["namespace"]["authority"] = str(SERVICE_STATE / name / AUTHORITY_FILE)
    made = user_data(name, document, package, bundle)
    _warn(configuration, bundle)
    click.echo("#cloud-config")
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


def user_data(name: str, document: dict[str, Any], package: str, bundle: Path | None) -> dict[str, Any]:
    """The cloud-config. Raises ConfigError."""
    configuration, certificate = SERVICE_FOLDER / f"{name}.json", SERVICE_FOLDER / f"{name}.pem"
    files = [_write(configuration, json.dumps(document, indent=2, ensure_ascii=False) + "\n")]
    steps = [
        *_fetch(package),
        f"DEBIAN_FRONTEND=noninteractive apt-get install -y {PACKAGE_FILE}",
        f"rm {PACKAGE_FILE}",
        f"chgrp ipop {configuration}",
        f"chmod 640 {configuration}",
    ]
    if bundle is not None:
        if read_bundle(bundle).key is None:
            raise ConfigError(str(bundle), "holds no key, and the new machine has none of its own")
        files.append(_write(certificate, bundle.read_text()))
        steps += [f"ipop -c {configuration} ca install {certificate}", f"rm {certificate}"]
    steps.append(f"systemctl enable --now ipop@{name}")
    return {
        "package_update": True,
        "packages": ["ca-certificates", "curl"],
        "write_files": files,
        "runcmd": [["sh", "-exc", "\n".join(steps)]],
    }


def _fetch(package: str) -> list[str]:
    found = PACKAGE_URL.fullmatch(package)
    if found is None:
        expected = "an address such as https://example.org/ipop.deb, with or without #sha256= and 64 hexadecimal digits"
        raise ConfigError("--package", f"{package!r} is not {expected}")
    url, digest = found["url"], found["digest"]
    if digest is None and not url.startswith("https://"):
        raise ConfigError("--package", f"{url} may be altered on its way: add #sha256= and what sha256sum says")
    fetch = f"curl --fail --silent --show-error --location --output {PACKAGE_FILE} {shlex.quote(url)}"
    return [fetch] if digest is None else [fetch, f'echo "{digest}  {PACKAGE_FILE}" | sha256sum --check']


def _write(path: Path, content: str) -> dict[str, str]:
    return {"path": str(path), "permissions": "0600", "owner": "root:root", "content": content}


def _warn(configuration: Configuration, bundle: Path | None) -> None:
    namespace = configuration.namespace
    holds_secret = namespace is not None and (namespace.secret is not None or namespace.passphrase is not None)
    if holds_secret or bundle is not None:
        what = "this node's key" if bundle is not None else "the namespace's secret"
        click.echo(f"warning: this user-data holds {what}: whoever can read it can join", err=True)
