"""Starting a daemon in the background, and what `mixmail devnet` asks of the network."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from mixmail.cli import background, devnet
from mixmail.cli.home import Home
from mixmail.cli.main import cli
from mixmail.control.client import Client
from mixmail.errors import UserError


def start(home: Home) -> list[str]:
    said: list[str] = []
    asyncio.run(background.start(home, said.append))
    return said


def spawn_shell(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn(home: Home) -> subprocess.Popen[bytes]:
        with home.log.open("ab") as log:
            return subprocess.Popen(["sh", "-c", script], stdout=log, stderr=log)

    monkeypatch.setattr(background, "_spawn", spawn)


def test_a_daemon_that_ends_at_once_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn_shell("echo noise; echo 'mixmail: The port is in use: choose another.'; exit 1", monkeypatch)
    with pytest.raises(UserError) as error:
        start(Home(tmp_path / "home"))
    assert error.value.code == "not-started"
    assert error.value.message.endswith(" ended: The port is in use: choose another.")


def test_a_daemon_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn_shell("sleep 5", monkeypatch)
    monkeypatch.setattr(background, "START_LIMIT", 0.1)
    with pytest.raises(UserError, match=r"does not answer: see .*node.log"):
        start(Home(tmp_path))


def test_nothing_is_started_where_a_daemon_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(path: Path) -> SimpleNamespace:
        return SimpleNamespace(close=lambda: asyncio.sleep(0))

    monkeypatch.setattr(Client, "connect", connect)
    monkeypatch.setattr(background, "_spawn", None)
    assert start(Home(tmp_path)) == []


def test_another_trouble_than_absence_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(path: Path) -> None:
        raise UserError("The socket belongs to another user.", "no-access")

    monkeypatch.setattr(Client, "connect", connect)
    monkeypatch.setattr(background, "_spawn", None)
    with pytest.raises(UserError) as error:
        start(Home(tmp_path))
    assert error.value.code == "no-access"


class FakeNetwork:
    NODES = 12

    def __init__(self) -> None:
        self.asked: list[tuple[str, Path]] = []
        self.nodes: list[SimpleNamespace] = []

    def down(self, folder: Path, say: object) -> None:
        self.asked.append(("down", folder))

    def up(self, folder: Path, processes: bool, say: object) -> None:
        self.asked.append(("up with processes" if processes else "up", folder))
        raise UserError("A port is in use.", "port")

    def status(self, folder: Path) -> list[SimpleNamespace]:
        return self.nodes


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    fake = FakeNetwork()
    monkeypatch.setattr(devnet, "network", lambda: fake)
    return fake


@pytest.mark.parametrize("words", [["run", "--stop"], ["down"]])
def test_stop_ends_the_network_of_this_home(words: list[str], network: FakeNetwork, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["devnet", *words, "--home", str(tmp_path)])
    assert result.exit_code == 0
    assert network.asked == [("down", tmp_path / "devnet")]


def test_who_closes_the_screen_is_told_how_to_reach_and_how_to_end_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devnet, "start", lambda folder, processes: None)
    monkeypatch.setattr(devnet, "open_screen", lambda home: None)
    result = CliRunner().invoke(cli, ["devnet", "run", "--home", str(tmp_path)])
    assert result.exit_code == 0
    assert f"mixmail status --home {tmp_path / 'devnet' / 'you'}\n" in result.stderr
    assert "scripts/run --stop" in result.stderr and "mixmail devnet down" in result.stderr


@pytest.mark.parametrize("words", [["run", "--smoke"], ["smoke"]])
def test_a_smoke_test_that_fails_ends_the_network_and_keeps_the_logs(
    words: list[str], network: FakeNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = CliRunner().invoke(cli, ["devnet", *words, "--processes"])
    assert (result.exit_code, result.stdout) == (1, "")
    (place,) = tmp_path.iterdir()
    assert network.asked == [("up with processes", place / "devnet"), ("down", place / "devnet")]
    assert f"the logs of the nodes are in {place}" in result.stderr


def test_a_smoke_test_leaves_nothing_behind_but_its_figures(
    network: FakeNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mail_to_echo(home: Home, say: object) -> dict[str, float | int]:
        return {"answered_s": 1.5, "packets": 7}

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(devnet, "start", lambda folder, processes: None)
    monkeypatch.setattr(devnet.smoke, "mail_to_echo", mail_to_echo)
    result = CliRunner().invoke(cli, ["devnet", "run", "--smoke"])
    assert result.exit_code == 0
    assert json.loads(result.stdout.splitlines()[-1]) == {"nodes": 12, "answered_s": 1.5, "packets": 7}
    assert list(tmp_path.iterdir()) == []
    assert [name for name, _ in network.asked] == ["down"]


def test_the_status_of_the_network(network: FakeNetwork) -> None:
    network.nodes = [SimpleNamespace(name="echo", pid=None, endpoint="tcp:1")]
    result = CliRunner().invoke(cli, ["devnet", "status"])
    assert result.exit_code == 3
    assert result.stdout.split() == ["echo", "down", "tcp:1"]
    network.nodes.append(SimpleNamespace(name="you", pid=7, endpoint="tcp:2"))
    result = CliRunner().invoke(cli, ["devnet", "status"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split() == ["you", "process", "7", "tcp:2"]
