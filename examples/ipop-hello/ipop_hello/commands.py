"""`ipop hello NAME`."""

import click

from ipop_core.cli.client import ask
from ipop_core.cli.output import json_option, print_json


@click.command()
@click.argument("name")
@json_option
@click.pass_context
def hello(ctx: click.Context, name: str, as_json: bool) -> None:
    """Have the running node greet NAME."""
    answer = ask(ctx, "hello", "greet", {"name": name}).body
    if as_json:
        print_json(answer)
    else:
        click.echo(answer["text"])
