"""`mixmail`: the entry point.  Without a command it opens the terminal UI."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from mixmail.cli import background, devnet, mail, node, people
from mixmail.cli.frame import ExitCode, Group, current_home
from mixmail.cli.screen import open_screen


@click.group(
    cls=Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples="""
mixmail
mixmail send echo -s Hello -m 'How are you?'
mixmail inbox --json
""",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Serverless anonymous mail.

    Without a command, mixmail opens the mail program in the terminal and starts the daemon if none runs.
    """
    if context.invoked_subcommand is None:
        home = current_home()
        asyncio.run(background.start(home, lambda text: click.echo(f"mixmail: {text}", err=True)))
        open_screen(home)


for command in (
    mail.send,
    mail.inbox,
    mail.read,
    people.identity,
    people.contact,
    people.passphrase,
    node.status,
    node.unlock,
    node.node,
    node.stop,
    devnet.devnet,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; a defect is one sentence too, unless MIXMAIL_DEBUG asks for its traceback."""
    try:
        cli(prog_name="mixmail")
    except Exception as error:
        if os.environ.get("MIXMAIL_DEBUG"):
            raise
        click.echo(
            f"mixmail: this is a defect ({type(error).__name__}): "
            "please report what `MIXMAIL_DEBUG=1 mixmail ...` prints.",
            err=True,
        )
        sys.exit(ExitCode.INTERNAL)
