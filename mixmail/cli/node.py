"""`mixmail node`, `stop`, `status` and `unlock`."""

from __future__ import annotations

import asyncio
import re
import sys

import click
import msgspec

from mixmail.cli import background, files, plain
from mixmail.cli.frame import Command, Group, current_home, json_option, print_json, with_client
from mixmail.control.client import Client
from mixmail.params import NODE_LIMITS

MAX_WORKERS = 64
"""Far beyond what one daemon can feed."""

MAX_QUOTA = 10**15
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_size(context: click.Context | None, option: click.Parameter | None, text: str | None) -> int | None:
    """Bytes: a number, with K, M, G or T for thousands of them.  BadParameter for anything else."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if not NODE_LIMITS.quota_min <= size <= MAX_QUOTA:
        least = plain.size(NODE_LIMITS.quota_min)
        raise click.BadParameter(
            f"{text!r} is no size from {least} on: write for instance 500M or 2G.", context, option
        )
    return size


@click.group(
    cls=Group,
    invoke_without_command=True,
    examples="mixmail node\nmixmail node --network friends.toml --home /srv/mixmail\n"
    "mixmail node --workers 3\nmixmail node --quota 10G\nmixmail node store",
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
@click.option(
    "--quota",
    callback=parse_size,
    metavar="SIZE",
    help="Keep at most so much for other people, such as 500M or 2G (the home keeps it; 2G at first).",
)
@click.pass_context
def node(context: click.Context, network: str | None, workers: int, quota: int | None) -> None:
    """Run the daemon in the foreground.

    It mixes, stores, and carries your mail until it is stopped. Where it listens stands in node.toml.
    """
    if context.invoked_subcommand is not None:
        if network is not None or workers or quota is not None:
            raise click.UsageError("These options are for the daemon: give them to 'mixmail node' alone.")
        return
    from mixmail.cli import wiring  # Twisted is loaded only here

    home = current_home()
    if network is not None:
        wiring.join(home, files.read(network, "network file"))
    if quota is not None:
        wiring.set_quota(home, quota)
    wiring.run_daemon(home, workers=workers)


@node.command(examples="mixmail node store\nmixmail node store --json")
@json_option
@with_client
async def store(client: Client, as_json: bool) -> None:
    """Show what the node keeps for other people: how much, of which class, and what had to go."""
    now = await client.store()
    if as_json:
        print_json(now)
        return
    kept = now.records + now.entries
    by_class = ", ".join(f"{one.count} for {one.days} days" for one in now.classes) or "none"
    rows = [
        ("quota", f"{plain.size(now.quota)}, {now.fill:.1%} full"),
        ("size", f"{plain.size(now.used)} in records, {plain.size(now.file_size)} on disk"),
        ("records", f"{kept} of {now.capacity}: {now.records} single, {now.entries} in queues"),
        ("by class", by_class),
        ("deleted", f"{now.remembered} queue entries remembered as deleted"),
        ("evicted", f"{plain.count(now.evicted, 'record')} since the start, for want of room"),
        ("asks for", f"{plain.count(now.asked_bits, 'bit')} of work"),
    ]
    for label, text in rows:
        click.echo(f"{label + ':':<14}{text}")


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
