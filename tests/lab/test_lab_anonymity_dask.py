"""The anonymity lab's sweep on workers of dask: the same figures, in the same order."""

from __future__ import annotations

import argparse
import importlib.util
import socket
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from mixmail.errors import UserError
from mixmail.lab.anonymity import sweep
from mixmail.lab.anonymity.flow import Setting
from mixmail.lab.anonymity.lab import LAB

ARGUMENTS = ("--users", "20", "--messages", "20", "--fast", "--quick")


def report(*arguments: str) -> tuple[dict[str, float], list[str]]:
    parser = argparse.ArgumentParser()
    LAB.options(parser)
    options = parser.parse_args(arguments)
    options.seed, options.plot = 1, None
    said: list[str] = []
    return dict(LAB.run(options, said.append).figures), said


def test_workers_give_the_same_figures_in_the_same_order() -> None:
    jobs = [
        sweep.Job(Setting(users=users, seconds=600.0), seed, 30, (0.0, 0.2), quick)
        for users, seed, quick in ((40, 1, True), (20, 1, True), (20, 2, True), (20, 1, False))
    ]
    # processes of their own on the loopback; the test ends them
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        far = list(sweep.run(jobs, cluster.scheduler_address))
        told = report(*ARGUMENTS, "--dask", cluster.scheduler_address)
    near = list(sweep.run(jobs))
    assert [found.seen[1].figures() for found in far] == [found.seen[1].figures() for found in near]
    assert [found.path_hostile for found in far] == [found.path_hostile for found in near]
    assert len({found.seen[0].figures()["packet_entropy_mean_bits"] for found in near}) == len(jobs)
    assert told == report(*ARGUMENTS)


def test_a_scheduler_without_workers_is_told() -> None:
    with (
        LocalCluster(n_workers=0, processes=True, host="127.0.0.1", dashboard_address=None) as cluster,
        pytest.raises(UserError, match="has no workers"),
    ):
        report(*ARGUMENTS, "--dask", cluster.scheduler_address)


def test_where_no_scheduler_answers_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "PATIENCE", 0.5)
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert command().main(["anonymity", *ARGUMENTS, "--dask", address]) == 1
    assert f"No scheduler of dask answers at {address}" in capsys.readouterr().err
    assert command().main(["anonymity", *ARGUMENTS, "--dask", "nonsense:://"]) == 1
    assert "No scheduler of dask answers at nonsense" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    run_lab = command()
    monkeypatch.setattr(run_lab.importlib, "import_module", load)
    assert run_lab.main(["anonymity"]) == 1
    assert "needs numpy" in capsys.readouterr().err


def command() -> Any:
    """`scripts/run_lab.py`."""
    file = Path(__file__).parents[2] / "scripts" / "run_lab.py"
    spec = importlib.util.spec_from_file_location("run_lab", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
