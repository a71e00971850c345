"""lossy_daemon.py HOME PACKETS STORE SLOWER: the ordinary daemon on HOME, which loses some of what it passes.

PACKETS is the share of the packets that its mix drops once they are unwrapped and should go on to another
node; STORE the share of its messages about boxes, between courier, proxy and homes, that it does not send.
All times of the network are SLOWER times as long: on a busy machine many nodes could not keep up.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from twisted.internet.defer import Deferred

from mixmail import params
from mixmail.cli import wiring
from mixmail.cli.home import Home
from mixmail.daemon import service
from mixmail.effects import Effect, Send
from mixmail.node import core, mix
from mixmail.node.wire import Kind

STORE_KINDS = (
    Kind.PROXY_QUERY,
    Kind.PROXY_REPLY,
    Kind.HOME_QUERY,
    Kind.HOME_REPLY,
    Kind.OFFER,
    Kind.NEED,
    Kind.RECORD,
)


TIMES = ("slot", "mean_delay", "tick", "rto", "home_timeout", "gossip_interval", "link_timeout")


def main(home: str, packets: float, store: float, slower: float) -> None:
    class LossyMix(mix.Mix):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            add = self.pool.add

            def lossy(item: Any, *more: Any) -> None:
                if isinstance(item, mix._Forward) and random.random() < packets:
                    self._stats.add("drop.on_purpose")
                else:
                    add(item, *more)

            self.pool.add = lossy  # type: ignore[method-assign]

    class LossyDaemon(service.Daemon):
        def _perform_node(self, effect: Effect) -> Deferred[None] | None:
            if isinstance(effect, Send) and effect.frame.kind in STORE_KINDS and random.random() < store:
                return None
            return super()._perform_node(effect)

    times = {name: getattr(params.DEMO, name) * slower for name in TIMES}
    params.PRESETS["demo"] = dataclasses.replace(params.DEMO, **times)
    core.Mix = LossyMix  # type: ignore[misc, attr-defined]
    service.Daemon = LossyDaemon  # type: ignore[misc]
    wiring.run_daemon(Home.at(home))


main(sys.argv[1], *map(float, sys.argv[2:]))
