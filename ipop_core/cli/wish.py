"""What a person says to `ipop init` and `ipop up`, and the configuration that it means."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from ipop_core.cli.site import read_site
from ipop_core.cli.template import asked_for, fill_template, templates
from ipop_core.config.formats import FormatFault, parse_cidr
from ipop_core.errors import ConfigError
from ipop_core.faults import show_value
from ipop_core.folders import state_folder
from ipop_core.namespace import new_secret

DEFAULT_NETWORK: Final = "192.168.10.{}/24"
AUTOMATIC: Final = "auto"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the person said on the command line."""

    namespace: str | None
    address: str | None
    bootstraps: tuple[str, ...]
    secret: bool
    bare: bool
    port: int | None
    card: str | None
    template: str | None

    def __post_init__(self) -> None:
        if self.bare and (self.namespace or self.secret or self.card or self.template):
            raise click.UsageError("a bare node has no namespace, address, secret, card or template")
        if self.secret and self.template:
            raise click.UsageError("--template takes its namespace from the authority; leave --secret out")
        if not self.bare and (self.namespace is None or self.address is None):
            raise click.UsageError("give NAMESPACE and ADDRESS, or --bare for a node without a card")

    def document(self, node: str) -> dict[str, Any]:
        """The configuration, not validated yet. Raises ConfigError for a bad ADDRESS or site file."""
        site = read_site()
        values: dict[str, Any] = {
            "node": node,
            "bootstraps": list(self.bootstraps) or site.bootstraps,
            "port": self.port,
            "card": self.card,
        }
        template = self._template(node, values)
        return site.applied_to(fill_template(template, values), asked_for(template, values))

    def _template(self, node: str, values: dict[str, Any]) -> str:
        """The template's name; what it needs besides is put among `values`."""
        if self.namespace is None or self.address is None:
            return "bare"
        values["address"] = full_address(self.address)
        values["namespace"] = {"name": self.namespace, "secret": new_secret()} if self.secret else self.namespace
        if self.template is None:
            return "node"
        from ipop_core.authority.membership import AUTHORITY_FILE  # noqa: PLC0415 - cryptography, for this alone

        values["authority"] = str(state_folder(node) / AUTHORITY_FILE)
        return self.template


def wish_options(command: F) -> F:
    """The arguments and options of `init` and `up` that a Wish is made of."""
    options = [
        click.argument("namespace", required=False),
        click.argument("address", required=False),
        click.option("--bootstrap", "bootstraps", multiple=True, metavar="HOST:PORT", help="A node to join through."),
        click.option("--secret", is_flag=True, help="Make the namespace secret, with a new secret."),
        click.option(
            "--template", type=click.Choice(templates()), help="More than the usual modules. Needs `ipop ca install`."
        ),
        click.option("--bare", is_flag=True, help="A node that only carries others' packets: no namespace, no card."),
        click.option("--port", type=click.IntRange(0, 65535), help="UDP port to listen on; 0 picks one."),
        click.option("--card", metavar="NAME", help="The virtual card, where several nodes have one each. [tapipop]"),
        click.option("--force", is_flag=True, help="Replace an existing configuration."),
    ]
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def full_address(text: str) -> str:
    """`10` -> `192.168.10.10/24`; an address without a prefix length gets /24 or /64. Raises ConfigError.

    `auto`, for an address that the directory chooses, stays as it is.
    """
    try:
        if text == AUTOMATIC:
            return text
        if text.isascii() and text.isdigit() and len(text) <= 3:
            full = DEFAULT_NETWORK.format(int(text))
        elif "/" in text:
            full = text
        else:
            full = f"{text}/{24 if ipaddress.ip_address(text).version == 4 else 64}"
        return str(parse_cidr(full))
    except FormatFault as fault:
        raise ConfigError("ADDRESS", f"{show_value(full)} {fault}") from None
    except ValueError:
        expected = "a last byte such as 10 (for 192.168.10.10/24), an address such as 10.1.2.3/16, or auto"
        raise ConfigError("ADDRESS", f"{show_value(text)} is not {expected}") from None
