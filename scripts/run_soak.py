"""Long tests, run by hand: what `scripts/soak` calls inside of .venv.

scripts/soak crash [--points POINT ...] [--rounds N]
        kill -9 of the user's daemon at each named point by itself, each with a profile of its own on one
        private network of real processes: a mail of two boxes goes out, its answer comes back, both once,
        and the disk says the truth after the kill.  A POINT is a name ("mail.stored": before and after it)
        or a moment ("after mail.stored"); default: all.

scripts/soak crash --store [--kills 200] [--seed 1]
        kill -9 of a process that runs a home's store under load (scripts/soak_store.py): each time it opens,
        it is whole, and nothing that was acknowledged is gone.

scripts/soak churn [--mails 1000] [--senders 10] [--nodes 20] [--minutes 15] [--slower 1] [--seed 1]
        people write to each other over a network of real processes that lose a tenth of their packets and a
        hundredth of their messages about boxes, while every ten seconds a node is killed with -9 and
        started again: all mails arrive, each once.  With --slower all times of the network are so many times
        as long, for machines that cannot run so many nodes at the pace of `demo`.

scripts/soak flood [--seconds 600] [--idle 2000]
        one real node under three times its capacity and idle callers (scripts/soak_flood.py): how long honest
        connects take, how much memory it needs, how soon it recovers.  A bar that is missed is a failure.

scripts/soak store [--records 1000000] [--folder FOLDER]
        a store of so many records, filled, killed with -9, opened, read and expired (scripts/soak_fill.py):
        how fast, how large.  Needs 23 GB of disk; takes fewer records where there is less.

scripts/soak wire [--blocks 14] [--seconds 30] [--seed 1]
        what a capture of a real network's traffic tells of when two people write to each other
        (scripts/soak_wire.py); needs Linux and root.  That it tells is a failure.

Progress goes to standard error.  The last line of standard output is one JSON object; the exit code is 0
only if nothing failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP), str(TOP / "tests" / "processes")]

from churning import Churn  # noqa: E402  (the path is set above)
from crash_points import MOMENTS, walk  # noqa: E402  (the path is set above)
from real_network import RealNetwork, real_network  # noqa: E402

from mixmail.errors import UserError  # noqa: E402

NODES = 7
LOSSES = (0.1, 0.01)  # of packets, of messages about boxes
KILL_EVERY = 10.0
CALM = 300.0  # seconds in which the outboxes must be empty once all has arrived
PROFILE = ("profile.db", "profile.db-wal", "profile.db-shm", "profile.key")


def chosen(points: Sequence[str]) -> list[str]:
    """The moments meant by names and moments; SystemExit for an unknown one."""
    known = {point: [point] for point in MOMENTS}
    for moment in MOMENTS:
        known.setdefault(moment.partition(" ")[2], []).append(moment)
    unknown = [point for point in points if point not in known]
    if unknown:
        sys.exit(f"soak: no point {unknown[0]!r}; known are {', '.join(known)}")
    return [moment for point in points or MOMENTS for moment in known[point]]


def crash_once(network: RealNetwork, moment: str, number: int) -> None:
    """One mail and its answer, with one kill, on a fresh profile."""
    for name in PROFILE:
        (network.you.home.folder / name).unlink(missing_ok=True)
    network.you.start()
    network.meet()
    network.you.stop()
    try:
        walk(network, [moment], f"crash {number}: {moment}")
    finally:
        network.you.stop()


def crash(points: Sequence[str], rounds: int) -> dict[str, object]:
    """All chosen moments, `rounds` times."""
    moments = chosen(points)
    failed: list[str] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mixmail-soak-") as place:
        folder = Path(place) / "net"
        with real_network(folder, NODES, friend=True) as network:
            for number, moment in enumerate(moments * rounds):
                start = time.monotonic()
                try:
                    crash_once(network, moment, number)
                    word = "ok"
                except Exception:  # one failure is reported, the other points still run
                    traceback.print_exc()
                    failed.append(moment)
                    word = "FAILED"
                print(f"soak: {moment}: {word} in {time.monotonic() - start:.1f} s", file=sys.stderr)
    return {
        "crashes": len(moments) * rounds,
        "failed": failed,
        "seconds": round(time.monotonic() - begun, 1),
    }


def churn(options: argparse.Namespace) -> dict[str, object]:
    """All mails, or what is wrong with them."""
    say = lambda text: print(f"soak: {text}", file=sys.stderr, flush=True)  # noqa: E731
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mixmail-soak-") as place:
        folder = Path(place) / "net"
        network = Churn(
            folder, options.nodes, options.senders, options.mails, options.seed, LOSSES, options.slower
        )
        with contextlib.closing(network):
            network.start()
            say(f"{options.nodes} nodes are up, {options.senders} people have met")
            if network.run(KILL_EVERY, options.minutes * 60, say):
                network.calm_down(CALM)
            wrong, waits = network.wrong(), network.waits()
    return {
        "soak": "churn",
        "n": options.mails,
        "arrived": network.arrived,
        "senders": options.senders,
        "nodes": options.nodes,
        "kills": network.kills,
        "slower": options.slower,
        "seed": options.seed,
        "wait_p50_s": round(waits[len(waits) // 2], 1) if waits else None,
        "wait_p95_s": round(waits[len(waits) * 95 // 100], 1) if waits else None,
        "seconds": round(time.monotonic() - begun, 1),
        "failed": wrong,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    crashing = kinds.add_parser("crash", help="kill -9 at each named point")
    crashing.add_argument("--points", nargs="+", default=[], metavar="POINT")
    crashing.add_argument("--rounds", type=int, default=1)
    crashing.add_argument("--store", action="store_true", help="a home's store instead of the user's daemon")
    crashing.add_argument("--kills", type=int, default=200, help="of a store (200)")
    crashing.add_argument("--seed", type=int, default=1, help="of what a store is asked (1)")
    churning = kinds.add_parser("churn", help="mails while nodes are killed and lose packets")
    churning.add_argument("--mails", type=int, default=1_000)
    churning.add_argument("--senders", type=int, default=10)
    churning.add_argument("--nodes", type=int, default=20)
    churning.add_argument("--minutes", type=float, default=15.0, help="until it is given up (15)")
    churning.add_argument("--slower", type=float, default=1.0, help="times as long as in `demo` (1)")
    churning.add_argument("--seed", type=int, default=1, help="of who writes and who is killed (1)")
    flooding = kinds.add_parser("flood", help="three times what a node can carry, and idle connections")
    flooding.add_argument("--seconds", type=float, default=600.0)
    flooding.add_argument("--idle", type=int, default=2_000)
    storing = kinds.add_parser("store", help="a million records in one store")
    storing.add_argument("--records", type=int, default=1_000_000)
    storing.add_argument("--folder", type=Path, help="where there is room; its files are deleted afterwards")
    wiring = kinds.add_parser("wire", help="whether a capture shows when people write")
    wiring.add_argument("--blocks", type=int, default=14, help="half of them busy (14)")
    wiring.add_argument("--seconds", type=float, default=30.0, help="length of a block (30)")
    wiring.add_argument("--seed", type=int, default=1, help="order of the blocks, and the deals (1)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the network is taken down
    if arguments.kind == "flood":
        import soak_flood  # a reactor that nobody else needs

        result = soak_flood.flood(arguments.seconds, arguments.idle)
    elif arguments.kind == "wire":
        import soak_wire  # numpy, which the others do not need

        try:
            result = soak_wire.wire(arguments.blocks, arguments.seconds, arguments.seed)
        except UserError as error:
            sys.exit(f"soak: {error.message}")
    elif arguments.kind == "store":
        import soak_fill

        try:
            result = soak_fill.run(arguments.records, arguments.folder)
        except UserError as error:
            sys.exit(f"soak: {error.message}")
    elif arguments.kind == "churn":
        result = churn(arguments)
    elif arguments.store:
        import soak_store

        result = soak_store.crash(arguments.kills, arguments.seed)
    else:
        result = crash(arguments.points, arguments.rounds)
    print(json.dumps(result))
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
