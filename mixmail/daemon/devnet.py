"""A private network on this machine: its homes, its processes.

    FOLDER/you          the user's home
    FOLDER/echo         a correspondent that answers each mail: an ordinary node and identity
    FOLDER/node-01 ...  the other nodes, hosted by one process or by one each

Every node has its own keys, databases and TLS links on loopback.  A process is known by the lock that it
holds on its home and, until it has got so far, by the note of who started it; both say when it began, so
nothing here can end a process that belongs to something else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mixmail.daemon.home import NodeConfig, NodeHome, solve_keys
from mixmail.directory.network_file import NetworkFile, Seed
from mixmail.errors import UserError
from mixmail.link import certificate
from mixmail.node.keys import NodeKeys
from mixmail.params import DEMO, Network, day_of
from mixmail.randomness import Randomness, SystemRandomness

NODES = 12
SEEDS = 3
STOP_LIMIT = 20.0  # seconds until a process that does not end by itself is killed
PAUSE = 0.05
ADDRESS_FILE = "address.txt"

Say = Callable[[str], None]
Suits = Callable[[Network, dict[str, NodeKeys]], bool]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node: `pid` is None if it is down."""

    name: str
    pid: int | None
    endpoint: str


@dataclass(frozen=True, slots=True)
class Started:
    """A process that `up` has started: the home with its log, and how long the log was before."""

    home: Path
    process: subprocess.Popen[bytes]
    log_bytes: int


def names(nodes: int = NODES) -> list[str]:
    """The folders of the network, the hosted nodes first."""
    return [*(f"node-{number:02}" for number in range(1, nodes - 1)), "echo", "you"]


def create(
    folder: Path, nodes: int = NODES, rng: Randomness | None = None, suits: Suits | None = None
) -> None:
    """Make the homes of a new network; each gets its keys and knows the first nodes as seeds.

    `suits`, given the network and everybody's keys, may ask for others (tests want certain layers).
    """
    rng = rng or SystemRandomness()
    now = time.time()
    network = Network(rng.bytes(32), day_of(now), DEMO)
    while True:
        keys = {name: solve_keys(network, None, now, rng) for name in names(nodes)}
        if suits is None or suits(network, keys):
            break
    for name in names(nodes):
        home = NodeHome(folder / name)
        home.save_keys(keys[name])
        certificate.load_or_make(home.path)
        home.write_config(NodeConfig(echo=name == "echo"))
    _set_seeds(folder, network)


def _set_seeds(folder: Path, network: Network) -> None:
    """Give the seeds free ports and tell everybody."""
    seeds = []
    ports = _free_ports(SEEDS)
    present = [path.name for path in sorted(folder.iterdir()) if (path / "node.key").exists()]
    for name, port in zip(_hosted(present)[:SEEDS], ports, strict=True):
        home = NodeHome(folder / name)
        keys = home.load_keys()
        if keys is None:
            raise UserError(f"{home.path} has no key: delete {folder} and start again.", "devnet")
        home.write_config(NodeConfig(listen=f"tcp:{port}:interface=127.0.0.1"))
        link = certificate.load(home.path)
        seeds.append(Seed(f"tcp:host=127.0.0.1:port={port}", link.hash, keys.node_id))
    file = NetworkFile(network.network_id, network.birth_day, network.parameters.name, tuple(seeds))
    for name in present:
        NodeHome(folder / name).write_network_file(file)


def _hosted(present: list[str]) -> list[str]:
    return [name for name in present if name.startswith("node-")]


def up(
    folder: Path, processes: bool, say: Say, nodes: int = NODES, without: tuple[str, ...] = ()
) -> list[Started]:
    """Start what does not run yet; returns when the processes are started, not when links stand.

    `processes`: one process for each node, else one for all hosted nodes.  `without` leaves nodes down.
    """
    if not (folder / "you" / "network.toml").exists():
        say(f"making a private network of {nodes} nodes in {folder}")
        create(folder, nodes)
    present = sorted(path.name for path in folder.iterdir() if (path / "node.key").exists())
    down_now = [name for name in present if not _running(NodeHome(folder / name)) and name not in without]
    if len(down_now) == len(present) and not _ports_free(folder):
        say("a port of the network is taken by another program: choosing others")
        _set_seeds(folder, NodeHome(folder / "you").network_file().network())
    hosted = _hosted(down_now)
    started = []
    if processes:
        started += [_spawn([folder / name], "node", "--home", str(folder / name)) for name in hosted]
    elif hosted:
        homes = [folder / name for name in hosted]
        started.append(_spawn(homes, "devnet", "host", *map(str, homes)))
    for name in ("echo", "you"):
        if name in down_now:
            started.append(_spawn([folder / name], "node", "--home", str(folder / name)))
    if down_now:
        say(f"starting {len(down_now)} nodes")
    return started


def down(folder: Path, say: Say) -> None:
    """End every process of the network and wait until all are gone."""
    if not folder.exists():
        say("nothing to stop: there is no private network here")
        return
    homes = [NodeHome(path) for path in sorted(folder.iterdir()) if (path / "node.key").exists()]
    running = [home for home in homes if _running(home)]
    if not running:
        say("nothing to stop: the network is down")
        return
    say(f"stopping {len(running)} nodes")
    stop_homes(running)


def stop_homes(homes: list[NodeHome], sign: int = signal.SIGTERM) -> None:
    """Send `sign` to the processes of these homes, also those that still start; wait until all have ended."""

    def running() -> set[int]:
        return set().union(*map(_running, homes))

    for pid in running():
        _send(pid, sign)
    deadline = time.monotonic() + STOP_LIMIT
    while remaining := running():
        if time.monotonic() > deadline:
            for pid in remaining:
                _send(pid, signal.SIGKILL)
            deadline += STOP_LIMIT
        time.sleep(PAUSE)


def stop_started(started: list[Started]) -> None:
    """End again what `up` has started."""
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
    for one in started:
        try:
            one.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()


def _running(home: NodeHome) -> set[int]:
    """The processes of a home: who holds it, who was started to."""
    return {pid for pid in (home.holder(), home.starting()) if pid is not None}


def _send(pid: int, sign: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(pid, sign)


def status(folder: Path) -> list[NodeStatus]:
    """Each node and whether it runs."""
    if not folder.exists():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if (path / "node.key").exists():
            home = NodeHome(path)
            found.append(NodeStatus(path.name, home.holder(), home.config().listen))
    return found


def echo_address(folder: Path) -> str | None:
    """The address of echo, None before its first start is through."""
    path = folder / "echo" / ADDRESS_FILE
    return path.read_text().strip() if path.exists() else None


def _spawn(homes: list[Path], *arguments: str) -> Started:
    """Start `python -m mixmail ...` for these homes, with its log in the first.

    In a session of its own, so that closing the terminal does not end it.
    """
    path = homes[0] / "node.log"
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "mixmail", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        started = Started(homes[0], process, os.fstat(log).st_size)
    finally:
        os.close(log)
    for home in homes:
        NodeHome(home).note_starting(process.pid)
    return started


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _ports_free(folder: Path) -> bool:
    """Whether the seeds' ports can be had."""
    for seed in NodeHome(folder / "you").network_file().seeds:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", int(seed.endpoint.rpartition("port=")[2])))
            except OSError:
                return False
    return True
