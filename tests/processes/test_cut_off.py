"""A node that nothing reaches any more says so, and takes it back when it is reached again."""

from __future__ import annotations

from pathlib import Path

from real_network import real_network
from waiting import wait_for

from mixmail.control import types
from mixmail.daemon import devnet


def test_a_user_whose_node_is_cut_off_is_told_and_told_when_it_is_over(tmp_path: Path) -> None:
    with real_network(tmp_path / "net", 7, friend=True) as network:
        you = network.you
        you.start()

        def status() -> types.Status:
            return you.ask(lambda client: client.status())

        def told() -> bool:
            return any("sends to itself" in warning for warning in status().warnings)

        wait_for(lambda: status().queries_answered >= 12, "own queries and loops come back")
        assert not told()
        devnet.stop_started(network.started)
        wait_for(told, "the status says that nothing comes back", 60)
        network.started = devnet.up(network.folder, False, lambda text: None, without=("you",))
        wait_for(lambda: not told(), "the warning is gone", 60)
