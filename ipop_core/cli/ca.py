"""`ipop ca`: the namespace's authority, and a node's certificate from it."""

from __future__ import annotations

import datetime
import ipaddress
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ipop_core import folders
from ipop_core.authority import folder as authority_folder
from ipop_core.authority.certificates import MEMBER_LIFETIME, Network, namespace_of, networks_of, p256_key
from ipop_core.authority.folder import Authority, Issued
from ipop_core.authority.membership import AUTHORITY_FILE, Bundle, install, make_request, read_bundle, read_request
from ipop_core.cli.client import NoControllerError, target, with_bus
from ipop_core.cli.output import json_option, print_facts, print_json, print_table
from ipop_core.errors import ConfigError, IpopError
from ipop_core.files import write_private
from ipop_core.identity import UNREADABLE_CERTIFICATE, Address, load_or_create

if TYPE_CHECKING:
    from ipop_core.bus.api import Bus, JsonObject

DEFAULT_NETWORK: Final = ipaddress.ip_network("192.168.10.0/24")
NAMESPACE: Final = re.compile(r"[!-~]{1,64}")
NODE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_DAYS: Final = 825

_file = click.Path(path_type=Path)
_dir_option = click.option("--dir", "folder", type=_file, metavar="FOLDER", help="The authority's folder.")
_passphrase_option = click.option(
    "--passphrase-file", type=_file, metavar="FILE", help="Holds the passphrase of the authority's key."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def ca() -> None:
    """Make a namespace's authority, give nodes their certificates, and take them back.

    On the authority's machine: init, issue, revoke, show. On a node's: request, install, publish.
    """


@ca.command()
@click.argument("namespace", metavar="NAME")
@click.option(
    "--network", "networks", multiple=True, metavar="CIDR", help=f"Addresses it may give. [{DEFAULT_NETWORK}]"
)
@_passphrase_option
@click.option("--ask-passphrase", is_flag=True, help="Put the key under a passphrase, and ask for it.")
@_dir_option
def init(
    namespace: str, networks: tuple[str, ...], passphrase_file: Path | None, ask_passphrase: bool, folder: Path | None
) -> None:
    """Make the authority of the namespace NAME."""
    if not NAMESPACE.fullmatch(namespace):
        raise ConfigError("NAME", f"{namespace!r} is not a namespace's name: 1 to 64 printable ASCII characters")
    wanted = [_network(text) for text in networks] or [DEFAULT_NETWORK]
    secret = _passphrase(passphrase_file)
    if ask_passphrase and secret is None:
        secret = click.prompt("Passphrase of the new authority", hide_input=True, confirmation_prompt=True, err=True)
    made = authority_folder.create(folder or authority_folder.default_folder(namespace), namespace, wanted, secret)
    if secret is None:
        click.echo("note: the authority's key lies in its folder without a passphrase", err=True)
    click.echo(f"{made.folder}: the authority of {namespace}; give a node its certificate with: ipop ca issue NODENAME")


@ca.command()
@click.argument("name", metavar="NODENAME")
@click.option("--address", "addresses", multiple=True, metavar="ADDRESS", help="A virtual address of the node.")
@click.option("--csr", type=_file, metavar="FILE", help="The node's request, from `ipop ca request`.")
@click.option("--days", type=click.IntRange(1, MAX_DAYS), default=MEMBER_LIFETIME.days, show_default=True)
@click.option("-o", "output", type=_file, metavar="FILE", help="What the node gets. [NODENAME.pem]")
@_passphrase_option
@_dir_option
def issue(
    *,
    name: str,
    addresses: tuple[str, ...],
    csr: Path | None,
    days: int,
    output: Path | None,
    passphrase_file: Path | None,
    folder: Path | None,
) -> None:
    """Give a node its certificate, or a new one before the old one ends.

    The file that is written goes to the node, for `ipop ca install`. A name that has a certificate is renewed: its key
    and addresses stay unless others are given. A new name without --csr gets a key made here; then the file is secret.
    """
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - not for `ipop ca --help`

    if not NODE_NAME.fullmatch(name):
        raise ConfigError("NODENAME", f"{name!r}: expected 1 to 64 letters, digits, dots, - and _")
    authority = _authority(folder)
    old = next((item for item in reversed(authority.issued()) if item.name == name and item.state != "revoked"), None)
    wanted = [_address(text) for text in addresses] or (list(old.addresses) if old else [])
    public_key = None if old is None else p256_key(old.certificate)
    made_here = None
    if csr is not None:
        public_key = read_request(csr)
    elif public_key is None:
        made_here = ec.generate_private_key(ec.SECP256R1())
        public_key = made_here.public_key()
    lifetime, secret = datetime.timedelta(days=days), _unlock(authority, passphrase_file)
    certificate = authority.issue(name, public_key, list(dict.fromkeys(wanted)), lifetime, secret)
    path = output or Path(f"{name}.pem")
    write_private(path, Bundle(certificate, authority.certificate, made_here).pem())
    given = ", ".join(map(str, wanted))
    click.echo(f"{path}: {name}, {given}, until {certificate.not_valid_after_utc:%Y-%m-%d}")
    if made_here is not None:
        click.echo(
            "note: this file holds the node's key; with `ipop ca request` the key never leaves its node", err=True
        )


@ca.command()
@click.argument("which", metavar="NODENAME|SERIAL|FILE")
@_passphrase_option
@_dir_option
@click.pass_context
def revoke(ctx: click.Context, which: str, passphrase_file: Path | None, folder: Path | None) -> None:
    """Take a node's certificates back, and its key with them.

    The news goes to the node that runs on this machine; from there it goes to every member. Where none runs, hand the
    list to any one node: `ipop ca publish FILE`.
    """
    authority = _authority(folder)
    found = _find(authority, which)
    if any(item.state != "revoked" for item in found):
        made = authority.revoke(found, _unlock(authority, passphrase_file))
        serials = ", ".join(f"{item.serial:x}" for item in found)
        click.echo(f"{found[0].name}: revoked ({serials}); list number {made.number} in {authority.list_path}")
    else:
        click.echo(f"{found[0].name}: was revoked already; the list is {authority.list_path}")
    try:
        _publish(ctx, authority.list_path)
    except IpopError as error:
        why = "no node runs here" if isinstance(error, NoControllerError) else str(error)
        click.echo(f"warning: {why}: on any one node run `ipop ca publish {authority.list_path.name}`", err=True)


@ca.command()
@click.argument("path", type=_file, metavar="[FILE]", required=False)
@_dir_option
@click.pass_context
def publish(ctx: click.Context, path: Path | None, folder: Path | None) -> None:
    """Give the list of revoked certificates to the node that runs here; it tells every member.

    FILE is the authority's crl.der; without it, that of the authority on this machine.
    """
    _publish(ctx, path or _authority(folder).list_path)


@ca.command()
@_dir_option
@json_option
def show(folder: Path | None, as_json: bool) -> None:
    """Show the authority and the certificates that it issued."""
    authority = _authority(folder)
    issued, revocations = authority.issued(), authority.revocations
    facts: dict[str, Any] = {
        "namespace": namespace_of(authority.certificate),
        "folder": str(authority.folder),
        "networks": [str(network) for network in networks_of(authority.certificate)],
        "until": authority.certificate.not_valid_after_utc.isoformat(),
        "passphrase": authority.needs_passphrase,
        "list_number": None if revocations is None else revocations.number,
    }
    rows = [_row(item) for item in issued]
    if as_json:
        print_json({**facts, "certificates": rows})
        return
    print_facts(facts.items())
    if rows:
        columns = ("name", "addresses", "state", "until", "serial", "node")
        print_table(columns, [[row[column] for column in columns] for row in rows])


@ca.command()
@click.option("--name", help="What the node is called. [the machine's name]")
@click.option("-o", "output", type=_file, metavar="FILE", help="[NAME.csr]")
@click.pass_context
def request(ctx: click.Context, name: str | None, output: Path | None) -> None:
    """Write a request for this node's certificate; its key stays here.

    Hand the file to the authority's owner, who runs `ipop ca issue NODENAME --address ADDRESS --csr FILE`.
    """
    called = name or socket.gethostname().partition(".")[0]
    path = output or Path(f"{called}.csr")
    identity = load_or_create(_state_folder(ctx))
    write_private(path, make_request(identity, called))
    click.echo(f"{path}: the request of node {identity.hex}")


@ca.command(name="install")
@click.argument("path", type=_file, metavar="FILE")
@click.pass_context
def install_command(ctx: click.Context, path: Path) -> None:
    """Take what the authority handed back: this node's certificate and the authority's."""
    state = _state_folder(ctx)
    bundle = read_bundle(path)
    identity = install(bundle, path, state)
    addresses = ", ".join(map(str, bundle.addresses))
    print_facts(
        [
            ("node", identity.hex),
            ("addresses", addresses),
            ("until", f"{bundle.certificate.not_valid_after_utc:%Y-%m-%d}"),
            ("namespace", f'{{"name": "{bundle.namespace}", "authority": "{state / AUTHORITY_FILE}"}}'),
        ]
    )
    click.echo("note: a running node uses it from its next start: ipop down, ipop up", err=True)


def _publish(ctx: click.Context, path: Path) -> None:
    try:
        der = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), f"can't be read: {error.strerror}") from None

    async def work(bus: Bus) -> JsonObject:
        return (await bus.request("link", "crl", frames=(der,))).body

    answer = with_bus(ctx, work)
    click.echo(f"the node here {'tells' if answer['news'] else 'has told'} the members list number {answer['number']}")


def _authority(folder: Path | None) -> Authority:
    """The one that is meant: by its folder, or the only one on this machine. Raises ConfigError."""
    if folder is not None:
        return Authority(folder)
    root = authority_folder.authorities_root()
    found = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if len(found) > 1:
        raise ConfigError("--dir", f"several authorities are here, choose one: {', '.join(map(str, found))}")
    if not found:
        raise ConfigError("--dir", f"there is no authority in {root}; make one with: ipop ca init NAME")
    return Authority(found[0])


def _find(authority: Authority, which: str) -> Sequence[Issued]:
    """The certificates of a node by its name, or the one of a serial number or file. Raises ConfigError."""
    from cryptography import x509  # noqa: PLC0415 - not for `ipop ca --help`

    issued = authority.issued()
    if by_name := [item for item in issued if item.name == which and item.state != "expired"]:
        return by_name
    serial = which.lower()
    if Path(which).is_file():
        try:
            certificates = x509.load_pem_x509_certificates(Path(which).read_bytes())
        except UNREADABLE_CERTIFICATE:
            raise ConfigError(which, "is not a certificate in PEM") from None
        serial = f"{certificates[0].serial_number:x}"
    if by_serial := [item for item in issued if f"{item.serial:x}" == serial]:
        return by_serial
    raise ConfigError(which, "is no name, serial number or file of a certificate that this authority issued")


def _row(item: Issued) -> dict[str, Any]:
    return {
        "name": item.name,
        "addresses": [str(address) for address in item.addresses],
        "state": item.state,
        "until": item.certificate.not_valid_after_utc.isoformat(),
        "serial": f"{item.serial:x}",
        "node": item.node.hex(),
    }


def _state_folder(ctx: click.Context) -> Path:
    wanted = target(ctx)
    if wanted.config is None:
        return folders.state_folder(wanted.name).absolute()
    # Imported here: reading a configuration costs a tenth of a second of imports.
    from ipop_core.config.build import read_node  # noqa: PLC0415

    return read_node(wanted.config).state


def _unlock(authority: Authority, passphrase_file: Path | None) -> str | None:
    if not authority.needs_passphrase:
        return None
    given = _passphrase(passphrase_file)
    return given if given is not None else click.prompt("Passphrase of the authority", hide_input=True, err=True)


def _passphrase(path: Path | None) -> str | None:
    """The file's first line."""
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"can't be read: {error}") from None
    return lines[0] if lines else ""


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError("--network", f"{error}; expected a network such as 192.168.10.0/24") from None


def _address(text: str) -> Address:
    try:
        return ipaddress.ip_interface(text).ip
    except ValueError:
        raise ConfigError("--address", f"{text!r} is not an IP address") from None
