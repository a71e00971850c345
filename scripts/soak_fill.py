"""`scripts/soak store`: a store of a million records (17 GB): how fast it is written, read and expired.

A process of its own fills node.db through the storage thread, which commits what waits together, and goes on
writing until it is killed with -9.  Another one opens what is left, looks for records that were acknowledged,
reads, scans as a sweep of repair does, and drops the thirtieth part, which a day of boxes of 30 days is, in
steps of `store_rows` with reads in between.  The texts are drawn from the numbers, so a wrong byte shows.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench_node import quantile
from bench_store import KLASS, TODAY, boxes, key_of

from mixmail.boxes.status import Status
from mixmail.boxes.store import START, place_of
from mixmail.errors import UserError
from mixmail.params import NODE_LIMITS
from mixmail.storage.node_db import NodeDatabase
from mixmail.storage.thread import BATCH_JOBS, StoreThread

ROW_BYTES = 18_000  # of the file, a record
SPARE = 5 * 2**30  # bytes that stay free
A_DAY = KLASS  # one in so many expires at a time
WAITING = 2 * BATCH_JOBS  # writes handed in before the first of them is done
READS = 10_000
SCANNED = 20_000
STEP = 25_000  # records between two lines


def say(text: str) -> None:
    """Progress."""
    print(f"soak: {text}", file=sys.stderr, flush=True)


def peak_mib() -> float:
    """The most memory that this process has had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def day_of(number: int) -> int:
    """The day of a record: the thirtieth part has expired tomorrow."""
    return TODAY - KLASS if number % A_DAY == 0 else TODAY


def a_box(number: int) -> Any:
    """The record of this number."""
    return next(boxes(number, 1, day_of(number)))


def open_store(path: Path) -> tuple[StoreThread, NodeDatabase]:
    """As the daemon does it."""
    thread = StoreThread()
    database = thread.run(lambda: NodeDatabase(path))
    thread.use_batches(database.batch)
    return thread, database


# two processes


def fill(path: Path, count: int) -> None:
    """Write until killed; a line each STEP records, {"count", "seconds", "mib"}, all of them durable."""
    thread, database = open_store(path)
    waiting: deque[Future[Status]] = deque()
    begun = time.monotonic()
    making = 0.0  # seconds spent on making records
    done = number = 0
    while True:
        while len(waiting) < WAITING:
            before = time.thread_time()
            record = a_box(number)
            making += time.thread_time() - before
            waiting.append(thread.submit(lambda one=record: database.put(one, TODAY)))  # type: ignore[misc]
            number += 1
        if waiting.popleft().result() is not Status.STORED:
            raise UserError("A record was not stored: this is a defect.", "soak")
        done += 1
        if done % STEP == 0 or done == count:
            line = {"count": done, "seconds": time.monotonic() - begun, "making": making, "mib": peak_mib()}
            os.write(1, f"{json.dumps(line)}\n".encode())


def measure(path: Path, count: int) -> dict[str, float]:
    """Open what the other left, and look."""
    begun = time.perf_counter()
    thread, database = open_store(path)
    thread.run(lambda: database.get(key_of(0)))
    opened = time.perf_counter() - begun
    begun = time.perf_counter()
    kept = thread.run(database.count)["records"]
    counted = time.perf_counter() - begun
    if kept < count:
        raise UserError(f"{count} records were acknowledged, {kept} are here.", "lost")
    rng = random.Random(1)
    numbers = [rng.randrange(count) for _ in range(READS)]
    for number in {*numbers[:1_000], 0, count - 1}:
        if thread.run(lambda n=number: database.get(key_of(n))) != a_box(number):  # type: ignore[misc]
            raise UserError(f"Record {number} was acknowledged and is not as it was.", "lost")
    alone = [read(thread, database, number) for number in numbers]
    swept, seconds = sweep(thread, database)
    dropped, expiring, meanwhile = expire(thread, database, [n for n in numbers if n % A_DAY])
    thread.run(database.close)
    thread.close()
    return {
        "records": kept,
        "open_s": round(opened, 3),
        "count_s": round(counted, 3),
        "get_p50_ms": round(quantile(alone, 0.5), 3),
        "get_p99_ms": round(quantile(alone, 0.99), 3),
        "scan_rows_per_s": round(swept / seconds),
        "expired": dropped,
        "expire_s": round(expiring, 2),
        "get_p99_expiring_ms": round(quantile(meanwhile, 0.99), 3),
        "get_worst_expiring_ms": round(max(meanwhile), 3),
        "peak_mib": round(peak_mib(), 1),
    }


def read(thread: StoreThread, database: NodeDatabase, number: int) -> float:
    """Milliseconds of one read."""
    begun = time.perf_counter()
    thread.run(lambda: database.get(key_of(number)))
    return (time.perf_counter() - begun) * 1_000


def sweep(thread: StoreThread, database: NodeDatabase) -> tuple[int, float]:
    """Rows read as repair reads them, and the seconds."""
    begun = time.perf_counter()
    place, rows = START, 0
    while rows < SCANNED:
        found = thread.run(lambda at=place: database.scan(at, NODE_LIMITS.store_rows))  # type: ignore[misc]
        if not found:
            break
        place, rows = place_of(found[-1]), rows + len(found)
    return rows, time.perf_counter() - begun


def expire(thread: StoreThread, database: NodeDatabase, numbers: list[int]) -> tuple[int, float, list[float]]:
    """Rows dropped in steps as by a replica, the seconds, and the milliseconds of each read meanwhile."""
    rows, dropped = NODE_LIMITS.store_rows, 0
    took: list[float] = []
    begun = time.perf_counter()
    step = thread.submit(lambda: database.expire(TODAY + 1, rows), upkeep=True)
    while True:
        took.append(read(thread, database, numbers[len(took) % len(numbers)]))
        if step.done():
            dropped += step.result()
            if step.result() < rows:
                return dropped, time.perf_counter() - begun, took
            step = thread.submit(lambda: database.expire(TODAY + 1, rows), upkeep=True)


# who starts them


def run(records: int, folder: Path | None = None) -> dict[str, Any]:
    """Figures; fewer records than asked for where the disk is too small, which is said."""
    with tempfile.TemporaryDirectory(prefix="mixmail-soak-", dir=folder) as name:
        place = Path(name)
        room = max(0, shutil.disk_usage(place).free - SPARE) // ROW_BYTES
        count = min(records, room)
        if count < records:
            say(f"the disk has room for {count} records only")
        if count <= 0:
            raise UserError(f"The disk with {place} has no room for this: free some space.", "disk-full")
        path = place / "node.db"
        filled = _fill_and_kill(path, count)
        say(f"killed; {path.stat().st_size / 2**30:.1f} GiB, opening it")
        command = [sys.executable, __file__, "measure", str(path), str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
        wal = path.with_name("node.db-wal")
        return {
            "soak": "store",
            "n": count,
            **filled,
            "gib": round((path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)) / 2**30, 2),
            **found,
            "failed": [] if done.returncode == 0 else ["what was acknowledged is not there: see above"],
        }


def _fill_and_kill(path: Path, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "fill", str(path), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    lines: list[dict[str, float]] = []
    try:
        assert process.stdout is not None
        for raw in process.stdout:
            lines.append(json.loads(raw))
            last = lines[-1]
            if last["count"] % (4 * STEP) == 0 or last["count"] == count:
                say(f"{last['count']:.0f} records after {last['seconds']:.0f} s")
            if last["count"] >= count:
                break
    finally:
        process.kill()
        process.wait()
    if process.returncode != -signal.SIGKILL:
        raise UserError("The process that writes has ended by itself: see above.", "soak")
    last = lines[-1]
    before = next((line for line in reversed(lines) if line["count"] <= count * 0.9), None)
    late = (last["count"] - before["count"]) / (last["seconds"] - before["seconds"]) if before else None
    return {
        "put_per_s": round(last["count"] / last["seconds"]),
        "put_per_s_last_tenth": round(late) if late else 0,
        "making_share": round(last["making"] / last["seconds"], 2),
        "fill_s": round(last["seconds"], 1),
        "fill_peak_mib": round(last["mib"], 1),
    }


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(measure(Path(sys.argv[2]), int(sys.argv[3]))))
