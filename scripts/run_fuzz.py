"""Coverage-guided fuzzing of the parsers: what `scripts/fuzz` calls inside of .venv.

The harnesses are in tests/fuzz; each parser either takes an input, refuses it as it may, or is at fault.
Every NAME runs in a process of its own, which an input that makes it fail ends: the input is kept and its
path told.  Then all inputs that reached something new are run once more to count the lines that they reach.

The last line of standard output is {"fuzz": NAME, "n": …, "seed": …, "figures": {…}}, one for each NAME.
The exit code is 0 only if no input made a parser fail.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP), str(TOP / "tests" / "fuzz")]

EXAMPLES = """
examples:
  scripts/fuzz --list                     the names, and what each of them tests
  scripts/fuzz packet                     100,000 inputs
  scripts/fuzz mail --runs 1000000        a million; or what 60 seconds give:
  scripts/fuzz mail --runs 0 --seconds 60
  scripts/fuzz all --runs 10000           every parser, one after the other
  scripts/fuzz mail --replay FILE         an input that failed, once more
"""
LONGEST = 4_096  # bytes of an input
PATIENCE = 20  # seconds for one input
MEMORY = 2_048  # MiB


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def child(name: str, folder: str, arguments: list[str]) -> None:
    """Run the fuzzer; it ends this process."""
    import atheris

    with atheris.instrument_imports(include=["mixmail", "email"]):
        import catalogue
    harness = catalogue.ALL[name]

    def one(data: bytes) -> None:
        harness.run(data)

    atheris.Setup([name, folder, *arguments], one)
    atheris.Fuzz()


def fuzz(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one harness."""
    from catalogue import ALL
    from harness import unreached

    harness = ALL[name]
    with tempfile.TemporaryDirectory(prefix="mixmail-fuzz-") as place:
        corpus = Path(place, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(harness.seeds):
            Path(corpus, f"seed-{number:03}").write_bytes(seed)
        kept = TOP / f"failed-{name}-"
        arguments = [
            *(f"-runs={options.runs or -1}", f"-seed={options.seed}", f"-max_len={LONGEST}"),
            *(f"-timeout={PATIENCE}", f"-rss_limit_mb={MEMORY}", f"-artifact_prefix={kept}"),
            *("-print_final_stats=1", "-verbosity=1", "-len_control=0"),
        ]
        if options.seconds:
            arguments.append(f"-max_total_time={options.seconds}")
        command = [sys.executable, __file__, "--child", name, str(corpus), *arguments]
        say(f"{name}: {options.runs or 'any number of'} inputs")
        started = time.monotonic()
        log = Path(place, "log")
        with log.open("wb") as output:
            code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
        seconds = time.monotonic() - started
        text = log.read_text("utf-8", "replace")
        runs = [line.split()[-1] for line in text.splitlines() if "number_of_executed_units" in line]
        inputs = [path.read_bytes() for path in sorted(corpus.iterdir())]
    if code:
        say("\n".join(text.splitlines()[-40:]))
    total, missing = unreached(harness, inputs)
    for function, line in sorted(missing):
        say(f"{name}: not reached: {function}, line {line}")
    count = int(runs[-1]) if runs else 0
    figures = {
        "failures": int(code != 0),
        "lines_percent": round(100 * (1 - len(missing) / total), 1),
        "runs_per_s": round(count / seconds),
        "inputs_kept": len(inputs),
    }
    return {"fuzz": name, "n": count, "seed": options.seed, "figures": figures}


def replay(name: str, path: Path) -> int:
    from catalogue import ALL

    try:
        data = path.read_bytes()
    except OSError as error:
        say(f"mixmail: {path} cannot be read ({error.strerror}): name the file that scripts/fuzz told.")
        return 2
    say("taken" if ALL[name].run(data) else "refused, as it may be")
    return 0


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], sys.argv[4:])
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a harness, or all")
    parser.add_argument("--list", action="store_true", help="the names of the harnesses")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs (default: 100000; 0: no limit)")
    parser.add_argument("--seconds", type=int, default=0, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzer (default: 1)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this input only")
    options = parser.parse_args()
    from catalogue import ALL

    if options.list:
        for name, harness in ALL.items():
            print(f"{name:12} {', '.join(function.__qualname__ for function in harness.code)}")
        return 0
    names = list(ALL) if options.names == ["all"] else options.names
    unknown = [name for name in names if name not in ALL]
    if unknown or not names:
        parser.error(
            f"no harness is called {', '.join(unknown) or 'nothing'}: scripts/fuzz --list has the names"
        )
    if options.runs < 1 and options.seconds < 1:
        parser.error("without a limit it would never end: give --runs or --seconds")
    if options.replay is not None:
        return replay(names[0], options.replay)
    failed = False
    for name in names:
        result = fuzz(name, options)
        print(json.dumps(result), flush=True)
        failed = failed or bool(result["figures"]["failures"])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
