"""A real mix in its process, one peer that sends to it and one to whom it forwards, over real TLS links."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from twisted.internet import reactor
from waiting import until

from mixmail.daemon.home import NodeConfig, NodeHome, solve_keys
from mixmail.directory.descriptor import Descriptor, Role, build, epoch_of
from mixmail.directory.network_file import NetworkFile
from mixmail.directory.peer_clocks import pack_hello, parse_hello
from mixmail.directory.puzzle import Proof
from mixmail.effects import Frame
from mixmail.errors import UserError
from mixmail.link import certificate
from mixmail.link.service import LinkService
from mixmail.node.keys import EpochKeys
from mixmail.node.wire import Kind
from mixmail.params import DEMO, GEOMETRY, ID_BYTES, Network, day_of
from mixmail.randomness import SystemRandomness
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.unwrap import open_header

RNG = SystemRandomness()


class Peer:
    """A node that only has links: the callbacks of a `LinkService`, and what came."""

    def __init__(self, folder: Path, network: Network) -> None:
        now = time.time()
        keys, epochs = solve_keys(network, None, now, RNG), EpochKeys(DEMO, RNG)
        epochs.rotate(now)
        folder.mkdir()
        self.id = keys.node_id
        self.key = epochs.live_mix(now)[0][1]
        self.other: Descriptor | None = None
        self.packets: list[bytes] = []
        link = certificate.make(folder)
        self.links = LinkService(reactor, self, link, DEMO)
        self.descriptor = build(
            keys.seed,
            network,
            day=day_of(now),
            revision=1,
            epoch=epochs.epoch,
            mix_keys=epochs.public_mix(),
            proxy_keys=epochs.public_proxy(),
            endpoint="tcp:host=127.0.0.1:port=9",  # nobody calls it: it calls the node
            link_cert_hash=link.hash,
            proof=Proof(keys.nonce, keys.q, keys.storage_id),
            roles=int(Role.MIX),
            stamp_bits=DEMO.box_bits,
        ).raw

    def hello(self) -> bytes:
        return pack_hello(self.descriptor, time.time())

    def on_hello(self, raw: bytes, cert_hash: bytes) -> bytes:
        self.other = Descriptor.parse(parse_hello(raw)[0])
        assert self.other.link_cert_hash == cert_hash
        return self.other.node_id

    def on_frame(self, peer: bytes, frame: Frame) -> None:
        if frame.kind == Kind.PACKET:
            self.packets.append(frame.payload)

    def on_link_up(self, peer: bytes) -> None:
        pass

    def on_link_down(self, peer: bytes) -> None:
        self.other = None

    def resolve(self, peer: bytes) -> None:
        return None


class MixStage:
    """The node in its process, started with `options`, and its two peers."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.options = options
        self.network = Network(RNG.bytes(32), day_of(time.time()), DEMO)
        self.log = folder / "node.log"
        self.home = NodeHome(folder / "node")
        self.home.save_keys(solve_keys(self.network, None, time.time(), RNG))
        self.certificate = certificate.load_or_make(self.home.path)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.home.write_config(NodeConfig(listen=f"tcp:{self.port}:interface=127.0.0.1"))
        file = NetworkFile(self.network.network_id, self.network.birth_day, DEMO.name, ())
        self.home.write_network_file(file)
        self.sender, self.receiver = Peer(folder / "from", self.network), Peer(folder / "to", self.network)
        self.process: subprocess.Popen[bytes]

    async def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "mixmail", "node", "--home", str(self.home.path), *self.options]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for peer in (self.sender, self.receiver):
            await until(lambda: not peer.links.peers(), "the old links are gone")  # noqa: B023
            while not peer.links.peers():
                assert self.process.poll() is None, self.log.read_text()
                try:
                    await peer.links.connect_seed(
                        f"tcp:host=127.0.0.1:port={self.port}", self.certificate.hash
                    )
                except UserError:  # it has not opened its port yet
                    await until(self.port_is_open, "the node listens")

    def port_is_open(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    async def close(self) -> None:
        """End the node, if it still runs, and the links."""
        if self.process.poll() is None:
            self.kill()
        for peer in (self.sender, self.receiver):
            await peer.links.close()

    def packet(self, number: int) -> bytes:
        """A new packet over the node to the receiver, under the node's key of now."""
        assert self.sender.other is not None
        key = self.sender.other.mix_key(epoch_of(DEMO, time.time()))
        path = [Hop(self.sender.other.node_id, key, 0), Hop(self.receiver.id, self.receiver.key.public, 0)]
        final = (CommandKind.DELIVER, number.to_bytes(ID_BYTES, "big"))
        return create_packet(path, bytes(GEOMETRY.payload), RNG, final)

    def send(self, packet: bytes) -> None:
        assert self.sender.other is not None
        self.sender.links.send(self.sender.other.node_id, Frame(Kind.PACKET, 0, packet))

    def came(self) -> list[int]:
        """The numbers of the packets that the node sent on, in order."""
        return [
            int.from_bytes(open_header([self.receiver.key], packet).command.ident, "big")
            for packet in self.receiver.packets
        ]

    async def passes(self, number: int) -> None:
        """A new packet goes on.  One link keeps the order: what was sent before has been looked at."""
        before = len(self.receiver.packets)
        self.send(self.packet(number))
        await until(lambda: len(self.receiver.packets) > before, f"packet {number} goes on")
