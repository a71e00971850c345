"""Removes one line at a time, each in its own copy of the tree, and expects a test to turn red.

scripts/mutants                   every mutant of scripts/mutants.toml
scripts/mutants WORD …            those with one of these words in name or file
scripts/mutants --list            what would be changed, and by which tests it has to be found

A mutant names its line by its exact text (without the indentation), which must stand in its file once,
or once below the line `below`: code that has moved on stops the script.  The tests that are named have to
pass without any change first.  The exit code is 0 only if every mutant turns a test red; a mutant that
cannot even be imported proves nothing and fails as well.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
TABLE = TOP / "scripts" / "mutants.toml"
COPIED = ("mixmail", "tui", "tests", "pyproject.toml", "setup.cfg")
PATIENCE = 300.0
"""Seconds after which the tests of a mutant are taken to hang."""

RED = "red"


class Moved(Exception):
    """The line of a mutant does not stand in its file (any more), or not once."""


@dataclass(frozen=True)
class Mutant:
    """One line to be replaced: `line` by `becomes`, in `file`, behind the line `below` if it is given."""

    name: str
    file: str
    line: str
    becomes: str
    tests: tuple[str, ...]
    below: str = ""

    def apply(self, text: str) -> str:
        """`text` of the file with the line replaced; `Moved` if it cannot be found."""
        lines = text.split("\n")
        start = 0
        if self.below:
            start = self._only(lines, self.below, 0) + 1
        place = self._only(lines, self.line, start, first=bool(self.below))
        indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
        lines[place] = indent + self.becomes
        return "\n".join(lines)

    def _only(self, lines: Sequence[str], wanted: str, start: int, first: bool = False) -> int:
        found = [number for number in range(start, len(lines)) if lines[number].strip() == wanted]
        if not found or (len(found) > 1 and not first):
            raise Moved(f"{self.name}: {self.file} has {len(found)} lines {wanted!r}, not one")
        return found[0]


def load(table: Path = TABLE) -> list[Mutant]:
    """The mutants of a table."""
    with table.open("rb") as file:
        rows = tomllib.load(file)["mutant"]
    return [Mutant(**{**row, "tests": tuple(row["tests"])}) for row in rows]


def check(mutants: Sequence[Mutant], top: Path = TOP) -> None:
    """`Moved` unless every line stands where the table says."""
    for mutant in mutants:
        path = top / mutant.file
        if not path.exists():
            raise Moved(f"{mutant.name}: there is no {mutant.file}")
        text = path.read_text(encoding="utf-8")
        if mutant.apply(text) == text:
            raise Moved(f"{mutant.name}: it changes nothing")


def copy_tree(source: Path, target: Path) -> None:
    """What the tests need, without compiled files: a stale one could hide a mutant."""
    for name in COPIED:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source / name, target / name)


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[str, str]:
    """("green", "red", "hangs" or "broken": pytest could not run them; the end of pytest's words)."""
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"}
    env.pop("MIXMAIL_TEST_REPORT", None)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "--assert=plain", *tests]
    try:
        run = subprocess.run(
            command,
            cwd=tree,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return "hangs", ""
    return {0: "green", 1: RED}.get(run.returncode, "broken"), (run.stdout + run.stderr)[-1_000:]


def try_mutant(source: Path, mutant: Mutant) -> tuple[str, float]:
    """(what became of it, seconds) in a copy of `source`."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mixmail-mutant-") as folder:
        tree = Path(folder)
        copy_tree(source, tree)
        path = tree / mutant.file
        changed = mutant.apply(path.read_text(encoding="utf-8"))
        path.write_text(changed, encoding="utf-8")
        try:
            compile(changed, mutant.file, "exec")
        except SyntaxError:
            result = "broken"
        else:
            result, _ = run_tests(tree, mutant.tests)
    return result, time.monotonic() - start


def is_killed(result: str) -> bool:
    """A test that fails, or does not end, has noticed."""
    return result in (RED, "hangs")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__.split("\n\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="only mutants with this in name or file")
    parser.add_argument("--list", action="store_true", help="show the mutants and stop")
    parser.add_argument("--table", type=Path, default=TABLE, help="another table than scripts/mutants.toml")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="mutants tried at a time (2)")
    options = parser.parse_args(arguments)
    mutants = load(options.table)
    if options.words:
        mutants = [m for m in mutants if any(word in m.name or word in m.file for word in options.words)]
    if not mutants:
        print("no such mutant", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="mixmail-mutants-") as folder:
        source = Path(folder)
        copy_tree(TOP, source)  # so that all see one state of the tree, whoever works in it meanwhile
        try:
            check(mutants, source)
        except Moved as error:
            print(f"the code has moved on: {error}; correct {options.table.name}", file=sys.stderr)
            return 2
        if options.list:
            show(mutants)
            return 0
        return 0 if try_all(source, mutants, options.jobs) else 1


def show(mutants: Sequence[Mutant]) -> None:
    """What would be changed, and by which tests it has to be found."""
    for mutant in mutants:
        print(f"{mutant.name}\n  {mutant.file}\n  - {mutant.line}\n  + {mutant.becomes or '(nothing)'}")
        print("".join(f"  {test}\n" for test in mutant.tests))


def try_all(source: Path, mutants: Sequence[Mutant], jobs: int) -> bool:
    """Whether every mutant is found; prints the table."""
    found, words = run_tests(source, sorted({test for mutant in mutants for test in mutant.tests}))
    if found != "green":
        print(
            f"{words}\nwithout any change the tests are {found}: mutants would prove nothing", file=sys.stderr
        )
        return False
    width = max(len(mutant.name) for mutant in mutants)
    survivors = 0
    with ThreadPoolExecutor(jobs) as pool:
        for mutant, (result, seconds) in zip(
            mutants, pool.map(partial(try_mutant, source), mutants), strict=True
        ):
            survivors += not is_killed(result)
            word = result if is_killed(result) else f"{result.upper()}: SURVIVES"
            print(f"{mutant.name:<{width}}  {mutant.file:<26} {seconds:6.1f} s  {word}", flush=True)
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants turn a test red")
    return survivors == 0


if __name__ == "__main__":
    sys.exit(main())
