"""`mixmail devnet`: a whole private network on this machine, to try mixmail and to test it."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click

from mixmail.cli import background, smoke
from mixmail.cli.frame import Group, current_home, json_option, print_json
from mixmail.cli.home import Home
from mixmail.cli.screen import open_screen
from mixmail.control.client import Client
from mixmail.errors import MixmailError, UserError

if TYPE_CHECKING:
    from mixmail.daemon.devnet import Started

processes_option = click.option("--processes", is_flag=True, help="A process of its own for each node.")


def network() -> ModuleType:
    """The daemon's side of it, loaded only when it is used."""
    from mixmail.daemon import devnet

    return devnet


def say(text: str) -> None:
    """Progress goes to standard error, so that standard output stays for results."""
    click.echo(f"mixmail: {text}", err=True)


def folder() -> Path:
    """Where the private network lives: beside a real profile, never mixed with it."""
    return current_home().folder / "devnet"


def user_home(network_folder: Path) -> Home:
    """The home of the one person on the private network: you."""
    return Home(network_folder / "you")


@click.group(
    cls=Group,
    examples="""
mixmail devnet run
mixmail devnet run --smoke
mixmail devnet down
""",
)
def devnet() -> None:
    """A private network on this machine, to try mixmail.

    12 nodes, real TLS links, and a correspondent called echo who answers each mail. Not anonymous: all
    nodes are yours.
    """


@devnet.command(
    examples="""
mixmail devnet run
mixmail devnet run --smoke
mixmail devnet run --stop
mixmail devnet run --home /tmp/try --processes
"""
)
@click.option(
    "--smoke", "is_smoke", is_flag=True, help="No screen: a mail to echo, its answer, network down."
)
@click.option("--stop", is_flag=True, help="End everything that was started.")
@processes_option
def run(is_smoke: bool, stop: bool, processes: bool) -> None:
    """Start the network, open the mail program in it.

    The network goes on when you close the screen, and your mail stays: run it again to see both.
    """
    if is_smoke and stop:
        raise click.UsageError("--smoke and --stop exclude each other.")
    if stop:
        network().down(folder(), say)
    elif is_smoke:
        run_smoke(processes)
    else:
        start(folder(), processes)
        open_screen(user_home(folder()))
        say(f"the network goes on: mixmail status --home {user_home(folder()).folder}")
        say("end it with `scripts/run --stop` or `mixmail devnet down`")


@devnet.command(examples="mixmail devnet up\nmixmail devnet up --processes")
@processes_option
def up(processes: bool) -> None:
    """Start the network and come back when it carries mail."""
    start(folder(), processes)
    say(f"your mail: mixmail inbox --home {user_home(folder()).folder}")


@devnet.command(examples="mixmail devnet down")
def down() -> None:
    """End all that `up` or `run` started; mail stays."""
    network().down(folder(), say)


@devnet.command(name="smoke", examples="mixmail devnet smoke\nmixmail devnet smoke --processes")
@processes_option
def smoke_command(processes: bool) -> None:
    """Network up, one mail to echo and its answer, network down.

    The last line of the output is {"nodes": …, "answered_s": …, "packets": …}.
    """
    run_smoke(processes)


@devnet.command(examples="mixmail devnet status\nmixmail devnet status --json")
@json_option
def status(as_json: bool) -> None:
    """Show which nodes run. Exits with 3 if none does."""
    nodes = network().status(folder())
    if as_json:
        print_json(nodes)
    else:
        for one in nodes:
            click.echo(
                f"{one.name:<10} {'process ' + str(one.pid) if one.pid else 'down':<16} {one.endpoint}"
            )
    if not any(one.pid for one in nodes):
        raise UserError("The private network is down: start it with `mixmail devnet up`.", "no-daemon")


@devnet.command(hidden=True, examples="mixmail devnet host DIR DIR")
@click.argument("folders", nargs=-1, required=True, metavar="HOME...")
def host(folders: tuple[str, ...]) -> None:
    """Run the nodes of these homes in one process, without a control socket."""
    from mixmail.cli import wiring  # Twisted is loaded only here

    wiring.run_nodes([Home.at(name) for name in folders])


def start(network_folder: Path, processes: bool) -> None:
    """The network up, your daemon answering, and echo in your address book.

    UserError "not-started" with a node's own last words when one does not come up; what was started for it
    is ended again.
    """
    started = network().up(network_folder, processes, say)
    try:
        asyncio.run(_until_ready(network_folder, started))
    except BaseException:
        network().stop_started(started)
        raise


async def _until_ready(network_folder: Path, started: list[Started]) -> None:
    """Every node holds its home, your daemon answers, echo has its address."""
    deadline = time.monotonic() + background.START_LIMIT
    while missing := [one.name for one in network().status(network_folder) if not one.pid]:
        await _pause(deadline, network_folder / missing[0], started)
    home = user_home(network_folder)
    while not await background.is_running(home):
        await _pause(deadline, home.folder, started)
    while (address := network().echo_address(network_folder)) is None:
        await _pause(deadline, network_folder / "echo", started)
    async with await Client.connect(home.socket) as client:
        if client.hello.locked:
            return  # echo was added when the profile was new
        if not any(contact.address == address for contact in await client.contact_list()):
            await client.contact_add(address, "echo")


async def _pause(deadline: float, node: Path, started: list[Started]) -> None:
    """Wait a moment for `node`.  UserError "not-started" after the deadline, or when a process has ended."""
    for one in started:
        if one.process.poll() is not None:
            words = background.last_words(Home(one.home), one.log_bytes)
            raise UserError(f"{one.home.name} does not start: {words}", "not-started")
    if time.monotonic() > deadline:
        words = background.last_words(Home(node))
        raise UserError(f"{node.name} does not start: {words}", "not-started")
    await asyncio.sleep(background.PAUSE)


def run_smoke(processes: bool) -> None:
    """The smoke test on a network of its own, in a folder that is gone afterwards unless it failed."""
    place = Path(tempfile.mkdtemp(prefix="mixmail-"))
    try:
        try:
            start(place / "devnet", processes)
            result = asyncio.run(smoke.mail_to_echo(user_home(place / "devnet"), say))
        finally:
            network().down(place / "devnet", say)
    except MixmailError:
        say(f"the logs of the nodes are in {place}")
        raise
    shutil.rmtree(place)
    click.echo(json.dumps({"nodes": network().NODES, **result}))
