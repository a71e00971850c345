"""Runs the checks and the tests by group: what `scripts/test` calls inside of .venv.

scripts/test                      everything
scripts/test GROUP … [ARGUMENTS]  these groups: checks, units, lab, screen or processes;
                                  the arguments go to pytest: scripts/test units -k sphinx
scripts/test tests/units/test_x.py …
                                  these files, without the checks

The table at the end has the seconds of each group against its budget; going over a budget is marked,
not failed, since machines differ.  The exit code is 0 only if nothing failed and every skipped test
is listed with its reason in tests/skips.txt.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

BUDGETS = {"checks": 60, "units": 130, "lab": 130, "screen": 90, "processes": 190}
FOLDERS = {
    "units": ["tests/units", "tests/spec_reader", "tests/fuzz"],
    "lab": ["tests/lab"],
    "screen": ["tests/screen"],
    "processes": ["tests/processes"],
}
OPTIONS = {"processes": ["--dist", "loadfile", "--no-loadscope-reorder"]}
"""More options of pytest.  The files of `processes` each start a network of their own, so a file stays in one
process; the longest come first (tests/processes/conftest.py)."""
PATIENCE = 8
"""A group that takes this many times its budget hangs: it is stopped and counts as failed."""

CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy --strict": ["mypy"],
    "lint-imports": ["lint-imports", "--no-logo"],
}


@dataclass
class Outcome:
    """What became of one group."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def run(command: list[str], limit: float, env: dict[str, str] | None = None) -> int | None:
    """The exit code of `command`; None if it was stopped after `limit` seconds."""
    process = subprocess.Popen(command, cwd=TOP, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_checks() -> Outcome:
    """Each check counts as one test."""
    outcome = Outcome("checks")
    start = time.monotonic()
    for name, (program, *arguments) in CHECKS.items():
        print(f"== {name}", flush=True)
        code = run([str(BIN / program), *arguments], PATIENCE * BUDGETS["checks"])
        if code == 0:
            outcome.passed += 1
        else:
            outcome.failed += 1
            outcome.notes.append(f"{name} failed" if code is not None else f"{name} hangs")
    outcome.seconds = time.monotonic() - start
    return outcome


def run_pytest(name: str, arguments: list[str], *, may_be_empty: bool) -> Outcome:
    """The tests of one group in two processes."""
    outcome = Outcome(name)
    print(f"== {name}", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mixmail-test-") as folder:
        report = Path(folder) / "report.json"
        env = {**os.environ, "MIXMAIL_TEST_REPORT": str(report)}
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *OPTIONS.get(name, []), *arguments]
        code = run(command, PATIENCE * BUDGETS.get(name, max(BUDGETS.values())), env)
        counts = json.loads(report.read_text()) if report.exists() else {}
    outcome.seconds = time.monotonic() - start
    outcome.passed = counts.get("passed", 0)
    outcome.failed = counts.get("failed", 0)
    outcome.skipped = counts.get("skipped", 0)
    for nodeid, reason in counts.get("unlisted", []):
        outcome.failed += 1
        outcome.notes.append(f"skipped, but not listed in tests/skips.txt: {nodeid} ({reason})")
    if code is None:
        outcome.failed += 1
        outcome.notes.append(f"hangs: stopped after {outcome.seconds:.0f} s")
    elif code == 5:  # pytest found no test
        if not may_be_empty:
            outcome.failed += 1
            outcome.notes.append("no tests found")
    elif code != 0 and outcome.failed == 0:
        outcome.failed += 1
        outcome.notes.append(f"pytest ended with exit code {code}")
    return outcome


def select(arguments: list[str]) -> list[Outcome]:
    """Run what the command line asks for."""
    if arguments and arguments[0] in BUDGETS:
        names = list(takewhile(BUDGETS.__contains__, arguments))
        rest = arguments[len(names) :]
        return [
            run_checks()
            if name == "checks"
            else run_pytest(name, [*FOLDERS[name], *rest], may_be_empty=bool(rest))
            for name in names
        ]
    if arguments:
        return [run_pytest("chosen", arguments, may_be_empty=False)]
    outcomes = [run_checks()]
    outcomes += [run_pytest(name, folders, may_be_empty=False) for name, folders in FOLDERS.items()]
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """Seconds by group, and below it what needs a word."""
    lines = [f"{'group':<10} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8} {'budget':>7}"]
    for outcome in outcomes:
        budget = BUDGETS.get(outcome.name)
        over = "  over budget" if budget is not None and outcome.seconds > budget else ""
        lines.append(
            f"{outcome.name:<10} {outcome.passed:>7} {outcome.failed:>7} {outcome.skipped:>8}"
            f" {outcome.seconds:>8.1f} {budget if budget is not None else '-':>7}{over}"
        )
    lines += [f"{outcome.name}: {note}" for outcome in outcomes for note in outcome.notes]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    try:
        outcomes = select(arguments)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print()
    print(table(outcomes))
    failed = sum(outcome.failed for outcome in outcomes)
    skipped = sum(outcome.skipped for outcome in outcomes)
    last = f"{sum(outcome.passed for outcome in outcomes)} passed, {failed} failed"
    print(last + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
