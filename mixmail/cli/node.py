"""`mixmail node`, `stop`, `status` and `unlock`."""

from __future__ import annotations

import asyncio
import sys

import click
import msgspec

from mixmail.cli import background, files, plain
from mixmail.cli.frame import Command, current_home, json_option, print_json, with_client
from mixmail.control.client import Client

MAX_WORKERS = 64
"""Far beyond what one daemon can feed."""


@click.command(
    cls=Command,
    examples="mixmail node\nmixmail node --network friends.toml --home /srv/mixmail\n"
    "mixmail node --workers 3",
)
@click.option("--network", metavar="FILE", help="Join the network of this file (once; the home keeps it).")
@click.option(
    "--workers",
    type=click.IntRange(0, MAX_WORKERS),
    default=0,
    show_default=True,
    metavar="N",
    help="Open packets in N more processes, for a busy mix with three cores or more.",
)
def node(network: str | None, workers: int) -> None:
    """Run the daemon in the foreground.

    It mixes, stores, and carries your mail until it is stopped. Where it listens stands in node.toml.
    """
    from mixmail.cli import wiring  # Twisted is loaded only here

    home = current_home()
    if network is not None:
        wiring.join(home, files.read(network, "network file"))
    wiring.run_daemon(home, workers=workers)


@click.command(cls=Command, examples="mixmail stop\nmixmail stop --drain")
@click.option("--drain", is_flag=True, help="Take no more packets and send those that wait, then stop.")
def stop(drain: bool) -> None:
    """Stop the daemon. Mail that is on its way goes on when it is started again.

    Says how many packets of other people are lost by it. A drain goes on when this command is interrupted.
    """
    asyncio.run(background.stop(current_home(), lambda text: click.echo(f"mixmail: {text}", err=True), drain))


@click.command(cls=Command, examples="mixmail unlock\npass show mixmail | mixmail unlock")
def unlock() -> None:
    """Open a profile that a passphrase locks.

    The passphrase is asked for, or read as one line from a pipe.
    """
    home = current_home()
    if sys.stdin.isatty():
        passphrase = click.prompt("Passphrase", hide_input=True, err=True)
    else:
        passphrase = sys.stdin.readline().rstrip("\n")

    async def run() -> None:
        async with await Client.connect(home.socket) as client:
            await client.unlock(passphrase)

    asyncio.run(run())


@click.command(cls=Command, examples="mixmail status\nmixmail status --json")
@json_option
@with_client
async def status(client: Client, as_json: bool) -> None:
    """Show the node and its network as they are now."""
    now = await client.status()
    if as_json:
        print_json(
            {**msgspec.to_builtins(now), "version": client.hello.version, "node_id": client.hello.node_id}
        )
        return
    size = f", a small network: at most {now.small_network} people" if now.small_network is not None else ""
    rows = [
        ("network", f"{plain.line(client.hello.network)}, preset {plain.line(now.preset)}{size}"),
        ("peers", f"{now.peers} connected, {now.known_nodes} nodes known"),
        ("next slot", f"in {now.next_slot_s:.1f} s, one every {now.slot_s:g} s"),
        ("your packets", f"{now.waiting} waiting"),
        ("mix", f"{now.pool} held, {now.packets_relayed} relayed"),
        ("store", f"{now.stored_records} records"),
        (
            "stamps",
            f"{now.stamps_checked} checked, {now.stamps_bad} bad, {now.stamps_put_off} put off",
        ),
        ("queries", f"{now.queries_sent} sent, {now.queries_answered} answered, {now.queries_lost} lost"),
        ("up", f"{now.uptime_s / 3600:.1f} h"),
    ]
    if not now.anonymous:
        rows.insert(1, ("anonymity", "none: this network is for trying only"))
    for label, text in rows:
        click.echo(f"{label + ':':<14}{text}")
    for node in now.lossy_nodes:
        click.secho(
            f"warning: node {plain.line(node.node_id[:16])} loses about {node.loss:.0%} of what passes it "
            f"({node.low:.0%} to {node.high:.0%}, seen in {node.queries} of your queries)",
            fg="yellow",
        )
    for warning in now.warnings:
        click.secho(f"warning: {plain.line(warning)}", fg="yellow")
