"""`scripts/bench`: the shape of what it prints, and how it writes into a README; no figure is judged."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mixmail.cli import devnet, smoke
from mixmail.errors import UserError

TOP = Path(__file__).resolve().parents[2]
PROGRAM = TOP / "scripts" / "run_bench.py"
README = "# mixmail\n\nbefore\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_bench", PROGRAM)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments: str) -> tuple[list[str], str]:
    """Standard output in lines and standard error of a run in a process of its own: it pins itself."""
    done = subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True, cwd=TOP)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def check(line: str, name: str, n: int, keys: set[str]) -> None:
    printed = json.loads(line)
    assert printed["bench"] == name and printed["n"] == n
    assert set(printed) == {"bench", "n", "figures"}
    assert keys <= set(printed["figures"])
    assert all(value > 0 for value in printed["figures"].values())


PACKET_KEYS = {"unwrap_over_floor", "create_over_unwrap", "query_over_unwrap"}


def test_packet_prints_lines_for_people_and_json_last() -> None:
    lines, progress = run("packet", "--rounds", "1")
    check(lines[-1], "packet", 1, PACKET_KEYS)
    assert len(lines) > 1 and "unwrap_over_floor" in lines[1]
    assert "rounds" in progress


def test_json_prints_nothing_else() -> None:
    lines, progress = run("lab", "--nodes", "6", "--minutes", "0.5", "--warm-up", "5", "--json")
    (line,) = lines
    check(line, "lab", 6, {"virtual_hours_per_minute", "fast_hours_per_minute"})
    assert "real cryptography" in progress and "stand-ins" in progress


NODE_KEYS = {
    "relay_over_unwrap",
    "packets_per_s",
    "packets_per_cpu_s",
    "unwraps_per_cpu_s",
    "after_tick_p99_ms",
    "unwrap_workers_over_one",
}


def test_node_relays_real_packets_through_a_real_process(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    if not hasattr(os, "sched_setaffinity"):  # it pins processes, and says so elsewhere
        assert bench.main(["node"]) == 1 and "Linux" in capsys.readouterr().err
        return
    lines, progress = run("node", "--rounds", "1", "--packets", "200", "--json")
    (line,) = lines
    printed = json.loads(line)
    extra = printed["figures"].pop("extra_delay_p99_ms")  # below zero where the machine is very quick
    assert isinstance(extra, float) and "after_tick_p99_ms" in printed["figures"]
    check(json.dumps(printed), "node", 200, NODE_KEYS)
    assert "4 links in and 4 links out" in progress


STORE_KEYS = {
    "write_over_sqlite",
    "writes_per_s",
    "reads_per_s",
    "accept_per_s",
    "read_p50_ms",
    "read_p99_ms",
    "read_p99_alone_ms",
    "read_p99_over_alone",
    "expired_per_s",
    "swept_per_s",
}


def test_store_measures_a_home_at_work() -> None:
    lines, progress = run("store", "--boxes", "300", "--reads", "40", "--rounds", "1", "--json")
    (line,) = lines
    check(line, "store", 300, STORE_KEYS)
    assert "300 boxes, and 150 that have expired" in progress


def test_lateness_counts_from_the_tick_and_from_one_tick_more(bench: ModuleType) -> None:
    import bench_node  # type: ignore[import-not-found]

    tick = bench_node.DEMO.tick
    at = 40_000 * tick
    samples = [
        bench_node.Sample(b"", delay=2 * tick, sent=at + 0.2 * tick, came=at + 3.5 * tick),
        bench_node.Sample(b"", delay=2 * tick, sent=at + 0.2 * tick),  # never came
    ]
    late, over = bench_node.lateness(bench_node.Load(samples, 1))
    assert late == [pytest.approx(0.5 * tick)] and over == [pytest.approx(0.3 * tick)]
    assert bench_node.quantile([3.0, 1.0, 2.0], 0.5) == 2.0 and bench_node.quantile([1.0], 0.99) == 1.0


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A devnet that only writes down what is asked of it."""
    calls: list[str] = []

    async def mail_to_echo(home: Any, say: Any) -> dict[str, float]:
        calls.append("mail")
        return {}

    monkeypatch.setattr(devnet, "start", lambda folder, processes: calls.append("start"))
    monkeypatch.setattr(smoke, "mail_to_echo", mail_to_echo)
    down = SimpleNamespace(down=lambda folder, say: calls.append("down"))
    monkeypatch.setattr(devnet, "network", lambda: down)
    return calls


def test_devnet_measures_each_run_and_takes_the_network_down(
    bench: ModuleType, network: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["devnet", "--runs", "2"]) == 0
    assert network == ["start", "mail", "down"] * 2
    check(capsys.readouterr().out.splitlines()[-1], "devnet", 2, {"first_answer_s", "first_answer_worst_s"})


def test_a_devnet_without_an_answer_is_taken_down_and_told_in_a_sentence(
    bench: ModuleType,
    network: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def no_answer(home: Any, say: Any) -> None:
        raise UserError("No answer within 120 s.", "timeout")

    monkeypatch.setattr(smoke, "mail_to_echo", no_answer)
    assert bench.main(["devnet"]) == 1
    assert network == ["start", "down"]
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == "bench: No answer within 120 s.\n"


RESULTS = (
    "a line for people\n"
    '{"bench": "packet", "n": 5, "figures": {"unwrap_over_floor": 9.9}}\n'
    '{"bench": "packet", "n": 5, "figures": {"unwrap_over_floor": 1.70001}}\n'
    '{"bench": "lab", "n": 200, "figures": {"fast_hours_per_minute": 4.2}}\n'
)


def write(bench: ModuleType, folder: Path, readme: str, results: str) -> tuple[int, str]:
    """The exit code and the README afterwards."""
    (folder / "README.md").write_text(readme)
    (folder / "results").write_text(results)
    arguments = ["--readme", "--file", str(folder / "README.md"), "--results", str(folder / "results")]
    return bench.main(arguments), (folder / "README.md").read_text()


def test_readme_replaces_what_stands_between_the_markers(bench: ModuleType, tmp_path: Path) -> None:
    code, text = write(bench, tmp_path, README, RESULTS)
    assert code == 0
    assert text.startswith("# mixmail\n\nbefore\n<!-- figures -->\n")
    assert text.endswith("\n<!-- /figures -->\nafter\n")
    assert "old" not in text and "9.9" not in text
    assert "| packet | `unwrap_over_floor` | 1.7 | 5 |" in text
    assert "| lab | `fast_hours_per_minute` | 4.2 | 200 |" in text
    assert bench.machine() in text and "Python 3." in bench.machine()
    assert write(bench, tmp_path, text, RESULTS) == (0, text)


@pytest.mark.parametrize("readme", ["nothing", "<!-- figures -->", "<!-- /figures --> <!-- figures -->"])
def test_a_readme_without_markers_stays_as_it_is(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], readme: str
) -> None:
    assert write(bench, tmp_path, readme, RESULTS) == (1, readme)
    (line,) = capsys.readouterr().err.splitlines()
    assert "<!-- figures -->" in line


@pytest.mark.parametrize(
    "results", ["", "{}", '{"bench": 1', '{"bench": "lab", "n": 1, "figures": {"x": "y"}}']
)
def test_results_of_no_bench_are_refused_in_a_sentence(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], results: str
) -> None:
    assert write(bench, tmp_path, README, results) == (1, README)
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["lab", "--readme"], ["packet", "--rounds", "0"]])
def test_wrong_usage_is_refused(
    bench: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        bench.main(arguments)
    assert stopped.value.code == 2
    assert "usage: scripts/bench" in capsys.readouterr().err


def test_help_has_examples(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"scripts/bench {name}" in text for name in bench.BENCHES) and "--readme" in text
