"""Measures speed: what `scripts/bench` calls inside of .venv.

The last line of standard output is {"bench": NAME, "n": …, "figures": {KEY: number}}; progress goes to
standard error.  docs/performance.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import gc
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixmail.errors import MixmailError, UserError
from mixmail.lab import bench_lab, bench_packet
from mixmail.lab.standins import stand_in_crypto

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "scripts"))  # its neighbours, however it was loaded
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"

EXAMPLES = """
examples:
  scripts/bench packet                 one core, seconds
  scripts/bench node                   a real node on a core of its own, a minute
  scripts/bench store                  a home's store with 100,000 boxes, 3 GB of disk, two minutes
  scripts/bench devnet --runs 5        a network of 12 nodes five times, a minute
  scripts/bench lab --minutes 3        200 virtual nodes, a minute or two
  scripts/bench packet --json          nothing but the JSON line on standard output
  scripts/bench --readme               run all and write the figures into README.md
  scripts/bench --readme --results FILE
                                       the same from JSON lines of earlier runs
"""

Result = dict[str, Any]


def say(text: str) -> None:
    """Progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def pin() -> None:
    """Stay on one core, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def result(name: str, n: int, figures: dict[str, float]) -> Result:
    """The shape that every bench prints; four digits are more than any of them is worth."""
    return {"bench": name, "n": n, "figures": {key: float(f"{value:.4g}") for key, value in figures.items()}}


def packet(options: argparse.Namespace) -> Result:
    """The minimum of `--rounds` rounds on one core."""
    pin()
    say(f"{options.rounds} rounds")
    return result("packet", options.rounds, bench_packet.measure(options.rounds))


def devnet(options: argparse.Namespace) -> Result:
    """Wall-clock seconds from nothing to the first answer, as `scripts/run --smoke` does it."""
    from mixmail.cli import devnet as network  # the daemon's side is loaded only here
    from mixmail.cli import smoke

    seconds = []
    for run in range(options.runs):
        place = Path(tempfile.mkdtemp(prefix="mixmail-bench-"))
        folder = place / "devnet"
        quiet: Callable[[str], None] = lambda text: None  # noqa: E731
        started = time.monotonic()
        try:
            network.start(folder, False)
            asyncio.run(smoke.mail_to_echo(network.user_home(folder), quiet))
            seconds.append(time.monotonic() - started)
        finally:
            network.network().down(folder, quiet)
            shutil.rmtree(place, ignore_errors=True)
        say(f"run {run + 1} of {options.runs}: first answer after {seconds[-1]:.1f} s")
    figures = {"first_answer_s": statistics.median(seconds), "first_answer_worst_s": max(seconds)}
    return result("devnet", options.runs, figures)


def lab(options: argparse.Namespace) -> Result:
    """Virtual hours in one minute of one core's time; `n` is the number of virtual nodes."""
    pin()
    measure = bench_lab.measure
    clock = time.process_time
    say("stand-ins")
    with stand_in_crypto(1):
        fast = measure(options.minutes, clock, options.nodes, options.warm_up, say)
    gc.collect()
    say("real cryptography")
    real = measure(options.minutes, clock, options.nodes, options.warm_up, say)
    return result("lab", options.nodes, {"virtual_hours_per_minute": real, "fast_hours_per_minute": fast})


def node(options: argparse.Namespace) -> Result:
    """One real node on a core of its own; the best of `--rounds` rounds; `n` is the packets of a round."""
    import bench_node  # the daemon's side is loaded only here
    import bench_workers

    figures = bench_workers.measure(options.rounds, say)
    return result("node", options.packets, bench_node.measure(options.rounds, options.packets, say) | figures)


def store(options: argparse.Namespace) -> Result:
    """A home's store in a process of its own, for its reactor; `n` is the number of boxes."""
    command = [sys.executable, str(TOP / "scripts" / "bench_store.py")]
    command += [str(number) for number in (options.boxes, options.reads, options.rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise UserError("The store could not be measured: the reason stands above.", "bench")
    return result("store", options.boxes, json.loads(done.stdout))


BENCHES: dict[str, Callable[[argparse.Namespace], Result]] = {
    "packet": packet,
    "node": node,
    "store": store,
    "devnet": devnet,
    "lab": lab,
}


# README


def machine() -> str:
    """CPU model, cores and Python: what a figure depends on, and nothing that tells whose machine it is."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2] for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def table(results: list[Result], day: datetime.date) -> str:
    """The README's table of all figures."""
    lines = [f"Measured on {day.isoformat()} on {machine()}.", ""]
    lines += ["| bench | figure | value | n |", "|---|---|---|---|"]
    for one in results:
        for key, value in one["figures"].items():
            lines.append(f"| {one['bench']} | `{key}` | {value:g} | {one['n']} |")
    return "\n".join(lines)


def find_markers(readme: Path) -> tuple[str, str]:
    """What stands before and behind the figures; UserError if the markers are not there."""
    try:
        text = readme.read_text()
    except OSError as error:
        raise UserError(f"{readme} cannot be read: {error.strerror}.", "readme") from error
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme} has no place for figures: put {BEGIN} and {END} into it.", "readme")
    return head + begin, end + tail


def read_results(path: Path) -> list[Result]:
    """Results from the JSON lines of a file, the last one of each bench; other lines are passed over."""
    found: dict[str, Result] = {}
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", "results") from error
    for line in lines:
        if line.startswith('{"bench"'):
            try:
                one = json.loads(line)
                found[one["bench"]] = result(one["bench"], one["n"], one["figures"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{path} has a line that no bench printed: {line[:60]}", "results") from error
    if not found:
        raise UserError(f"{path} has no line that a bench printed.", "results")
    return list(found.values())


def write_readme(readme: Path, results: list[Result]) -> None:
    """Replace what stands between the markers."""
    head, tail = find_markers(readme)
    readme.write_text(f"{head}\n{table(results, datetime.date.today())}\n{tail}")


# command line


def parser() -> argparse.ArgumentParser:
    """The options, with examples."""
    made = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure speed. The last line of standard output is JSON.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("name", nargs="?", choices=BENCHES, help="what to measure")
    made.add_argument("--json", action="store_true", help="only the JSON line on standard output")
    made.add_argument("--rounds", type=positive(int), default=5, help="packet, node, store: so many (5)")
    made.add_argument("--boxes", type=positive(int), default=100_000, help="store: boxes in it (100000)")
    made.add_argument("--reads", type=positive(int), default=2_000, help="store: reads measured (2000)")
    made.add_argument("--packets", type=positive(int), default=8_000, help="node: packets a round (8000)")
    made.add_argument("--runs", type=positive(int), default=3, help="devnet: networks started (3)")
    made.add_argument(
        "--minutes", type=positive(float), default=10.0, help="lab: virtual minutes measured (10)"
    )
    made.add_argument(
        "--warm-up",
        type=positive(float),
        default=bench_lab.WARM_UP,
        help="lab: virtual seconds before (1200)",
    )
    made.add_argument("--nodes", type=positive(int), default=200, help="lab: virtual nodes (200)")
    made.add_argument("--readme", action="store_true", help="write all figures into the README")
    made.add_argument("--results", type=Path, metavar="FILE", help="with --readme: take these, run nothing")
    made.add_argument("--file", type=Path, default=TOP / "README.md", help="with --readme: another README")
    return made


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """A number above zero, else argparse refuses it."""

    def number(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above zero")
        return value

    return number


def show(one: Result) -> None:
    """For people."""
    print(f"{one['bench']} (n = {one['n']})")
    for key, value in one["figures"].items():
        print(f"  {key:<28} {value:g}")


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    if options.readme == bool(options.name):
        parser().error("name one bench, or give --readme")
    try:
        if options.readme:
            find_markers(options.file)  # before minutes are spent
            if options.results:
                results = read_results(options.results)
            else:
                # devnet first: the others stay on one core
                results = [BENCHES[name](options) for name in ("devnet", "node", "packet", "store", "lab")]
            write_readme(options.file, results)
        else:
            results = [BENCHES[options.name](options)]
    except UserError as error:
        say(str(error))
        return 1
    except MixmailError as error:
        say(f"{error}: this is a defect.")
        return 1
    for one in results:
        if not options.json:
            show(one)
        print(json.dumps(one, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
