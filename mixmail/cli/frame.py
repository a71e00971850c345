"""What all commands share: the exit codes, `--home`, help with examples, errors as one sentence."""

from __future__ import annotations

import asyncio
import enum
import functools
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, ParamSpec

import click
import msgspec

from mixmail.cli import plain
from mixmail.cli.home import Home
from mixmail.control.client import Client
from mixmail.errors import MixmailError, RemoteProtocolError, UserError

P = ParamSpec("P")


class ExitCode(enum.IntEnum):
    """What a script can tell from the exit code; the same table stands in docs/cli.md."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NO_DAEMON = 3
    NOT_FOUND = 4
    NETWORK = 5
    INTERNAL = 70


EXIT_CODES = {
    ExitCode.OK: "done",
    ExitCode.REFUSED: "refused: a wrong address, a full disk, a name that is taken …",
    ExitCode.USAGE: "the command line itself is wrong",
    ExitCode.NO_DAEMON: "no daemon runs on this home, or it went away",
    ExitCode.NOT_FOUND: "no such mail, contact, identity or network",
    ExitCode.NETWORK: "the network is out of reach or too small, or --timeout is over",
    ExitCode.INTERNAL: "a defect in mixmail: please report it",
}

_NO_DAEMON = {"no-daemon", "connection-lost", "no-answer"}
_NETWORK = {"network-small", "no-network", "unreachable", "timeout"}


def exit_code(error: MixmailError) -> ExitCode:
    """The exit code of an error, by its word."""
    if isinstance(error, RemoteProtocolError):
        return ExitCode.NO_DAEMON
    code = error.code if isinstance(error, UserError) else ""
    if code in _NO_DAEMON:
        return ExitCode.NO_DAEMON
    if code.startswith("unknown-") or code == "not-found":
        return ExitCode.NOT_FOUND
    return ExitCode.NETWORK if code in _NETWORK else ExitCode.REFUSED


def sentence(error: MixmailError) -> str:
    """What the user reads."""
    if isinstance(error, RemoteProtocolError):
        return f"The daemon answers in a way this program does not know ({error}): restart it."
    return str(error)


def _set_home(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.find_root().obj = Home.at(value)


def _home_option() -> click.Option:
    return click.Option(
        ["--home"],
        metavar="DIR",
        expose_value=False,
        callback=_set_home,
        help="Where mail and keys are kept (default: MIXMAIL_HOME, else your data folder).",
    )


class Command(click.Command):
    """A command with `--home` and examples, one a line, at the end of its help."""

    def __init__(self, *args: Any, examples: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples.strip().splitlines()
        self.params.append(_home_option())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)


class Group(click.Group):
    """A group with the same, which prints a UserError as one sentence and exits with its code."""

    command_class = Command

    def __init__(self, *args: Any, examples: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = examples.strip().splitlines()
        self.params.append(_home_option())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)
        if ctx.parent is None:
            with formatter.section("Exit codes"):
                formatter.write_dl([(str(int(code)), text) for code, text in EXIT_CODES.items()])

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except MixmailError as error:
            click.echo(f"mixmail: {plain.line(sentence(error))}", err=True)
            ctx.exit(exit_code(error))


Group.group_class = Group


def write_examples(examples: list[str], formatter: click.HelpFormatter) -> None:
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':{formatter.current_indent}}{example.strip()}\n")


def current_home() -> Home:
    """The home that the command line or the environment names."""
    root = click.get_current_context().find_root()
    if not isinstance(root.obj, Home):
        root.obj = Home.at()
    return root.obj


def with_client(
    function: Callable[Concatenate[Client, P], Awaitable[None]],
) -> Callable[P, None]:
    """Make a command of a coroutine that takes a client of the daemon (connected, profile open)."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        home = current_home()

        async def run() -> None:
            async with await Client.connect(home.socket) as client:
                if client.hello.locked:
                    raise UserError("The profile is locked: open it with `mixmail unlock`.", "locked")
                await function(client, *args, **kwargs)

        asyncio.run(run())

    return command


def print_json(value: object) -> None:
    """One JSON document, in ASCII, so that no terminal acts upon what other people wrote."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2))


def read_stdin(what: str) -> bytes:
    """Standard input to its end; says so where a person has to type it."""
    if sys.stdin.isatty():
        click.echo(f"Type {what}; end with Ctrl-D on a line of its own.", err=True)
    return sys.stdin.buffer.read()


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
