"""The home folder of one node: its files, its lock, its keys.

network.toml        which network (see directory/network_file.py)
node.toml           where to listen, what to announce, whether this is the echo
node.key            the node's lasting key and solved identity puzzle (0600)
link-key.pem, link-cert.pem     the link certificate
node.db             other people's records
profile.db, profile.key         the user's profile, encrypted, and its key
daemon.lock         held while a daemon runs, says which process it is
starting.pid        the process that a private network last started for this home
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Annotated

import msgspec

from mixmail.daemon import processes
from mixmail.directory import network_file, puzzle
from mixmail.directory.network_file import NetworkFile
from mixmail.errors import UserError
from mixmail.node.keys import NodeKeys
from mixmail.params import ID_BYTES, NODE_LIMITS, Network, day_of
from mixmail.randomness import Randomness
from mixmail.storage.driver import replace_file
from mixmail.storage.errors import DiskError

SEED_BYTES = 32
PUZZLE_CHUNK = 16  # attempts between two looks at whether to go on


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """node.toml.  `announce` is what others connect to; `{port}` stands for the port listened on.
    `quota`: bytes that the home keeps for others."""

    listen: str = "tcp:0:interface=127.0.0.1"
    announce: str = "tcp:host=127.0.0.1:port={port}"
    echo: bool = False
    quota: Annotated[int, msgspec.Meta(ge=NODE_LIMITS.quota_min)] = NODE_LIMITS.quota


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: int
    seed: bytes
    nonce: bytes
    q: int
    storage_id: bytes


class NodeHome:
    """One home folder.  `path` is made (0700) if it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The folder {path} cannot be made ({error.strerror}): choose another with --home.", "home"
            ) from error

    @property
    def node_db(self) -> Path:
        """Other people's records."""
        return self.path / "node.db"

    @property
    def profile_db(self) -> Path:
        """The user's profile."""
        return self.path / "profile.db"

    @property
    def profile_key(self) -> Path:
        """The key of the profile."""
        return self.path / "profile.key"

    # the lock

    def lock(self) -> None:
        """Hold the home; UserError "second-daemon" if another process does."""
        path = self.path / "daemon.lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DiskError(path, error.strerror) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise UserError(
                f"Another mixmail already runs on {self.path}: use it, stop it with 'mixmail stop', "
                "or give another --home.",
                "second-daemon",
            ) from error
        try:
            os.ftruncate(handle, 0)
            os.write(handle, processes.name(os.getpid()).encode())
        except OSError as error:
            os.close(handle)
            raise DiskError(path, error.strerror) from error
        self._lock = handle

    def holder(self) -> int | None:
        """The pid of the daemon that holds the home, None if none does.

        None as well for the moment between a daemon's lock and its name in it.
        """
        try:
            handle = os.open(self.path / "daemon.lock", os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return processes.living(os.read(handle, 200).decode("ascii", "replace"))
        finally:
            os.close(handle)
        return None

    def note_starting(self, pid: int) -> None:
        """Remember the process that was started for this home: it may not hold it yet."""
        replace_file(self.path / "starting.pid", processes.name(pid).encode())

    def starting(self) -> int | None:
        """The pid of the process that was last started for this home, None if it has ended."""
        try:
            return processes.living((self.path / "starting.pid").read_text("ascii", "replace"))
        except FileNotFoundError:
            return None

    def unlock(self) -> None:
        """Let go of the home."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # files

    def network_file(self) -> NetworkFile:
        """Which network this node is on; UserError "no-network" if nobody has said so yet."""
        path = self.path / "network.toml"
        try:
            text = path.read_text("utf-8", "replace")
        except FileNotFoundError as error:
            raise UserError(
                f"No network is set up in {self.path}: start a private one on this machine with "
                "'mixmail devnet run', or put a network file there as network.toml.",
                "no-network",
            ) from error
        except OSError as error:
            raise DiskError(path, error.strerror) from error
        return network_file.parse(text)

    def write_network_file(self, file: NetworkFile) -> None:
        """Set the network."""
        replace_file(self.path / "network.toml", file.text().encode())

    def config(self) -> NodeConfig:
        """node.toml, or the defaults."""
        path = self.path / "node.toml"
        try:
            return msgspec.toml.decode(path.read_bytes(), type=NodeConfig)
        except FileNotFoundError:
            return NodeConfig()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be used: {error}. Correct or delete it.", "config") from error
        except OSError as error:
            raise DiskError(path, error.strerror) from error

    def write_config(self, config: NodeConfig) -> None:
        """Write node.toml."""
        lines = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in _fields(config)]
        replace_file(self.path / "node.toml", ("\n".join(lines) + "\n").encode())

    def load_keys(self) -> NodeKeys | None:
        """The node's keys, None if it has none yet; UserError "node-key" if the file is damaged."""
        path = self.path / "node.key"
        damaged = UserError(
            f"{path} is damaged: put back a copy, or delete it and the node gets a new key.", "node-key"
        )
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_KeyFile)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DiskError(path, error.strerror) from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise damaged from error
        sizes = (len(file.seed), len(file.nonce), len(file.storage_id))
        if sizes != (SEED_BYTES, puzzle.NONCE_BYTES, ID_BYTES):
            raise damaged
        return NodeKeys(file.seed, file.nonce, file.q, file.storage_id)

    def save_keys(self, keys: NodeKeys) -> None:
        """Write the node's keys, atomically; nothing if they stand there already."""
        if keys == self.load_keys():
            return
        file = _KeyFile(version=1, seed=keys.seed, nonce=keys.nonce, q=keys.q, storage_id=keys.storage_id)
        replace_file(self.path / "node.key", msgspec.json.encode(file))

    def load_published(self) -> tuple[tuple[int, int], int]:
        """(day, revision) of the last own descriptor and its claim; ((0, 0), 0) if none is known."""
        try:
            numbers = [int(word) for word in (self.path / "node.revision").read_text().split()]
            day, revision, claim = (*numbers, 0)[:3]
            return (day, revision), claim
        except (FileNotFoundError, ValueError):
            # the time of day gives a revision above all earlier ones but those of this second
            return (0, 0), 0

    def save_published(self, order: tuple[int, int], claim: int) -> None:
        """Remember it: two descriptors of one day and revision would convict this node of lying."""
        replace_file(self.path / "node.revision", f"{order[0]} {order[1]} {claim}\n".encode())


def solve_keys(network: Network, keys: NodeKeys | None, now: float, rng: Randomness) -> NodeKeys:
    """Keys whose identity puzzle is solved for today: the given ones if it is, else solved anew.

    Blocking: with real parameters some seconds.
    """
    seed = keys.seed if keys else rng.bytes(32)
    node_id = NodeKeys(seed, b"", 0, b"").node_id
    today = day_of(now)
    if keys and keys.q == puzzle.period(network.parameters, node_id, today):
        proof = puzzle.Proof(keys.nonce, keys.q, keys.storage_id)
        if puzzle.check(network, node_id, proof):
            return keys
    start = 0
    while (found := puzzle.solve(network, node_id, today, start, PUZZLE_CHUNK)) is None:
        start += PUZZLE_CHUNK
    return NodeKeys(seed, found.nonce, found.q, found.storage_id)


def _fields(config: NodeConfig) -> list[tuple[str, object]]:
    return [(name, getattr(config, name)) for name in config.__struct_fields__]
