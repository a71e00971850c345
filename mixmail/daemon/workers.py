"""The processes that open packets for a busy mix: `mixmail node --workers N`.

Rules
- Each process answers its batches in turn; a new one goes to the process with the fewest outstanding.
- A process that dies is replaced.  The batch it was at is tried once more, the second time it fails; the
  batches behind it are done by the others.  So are all that it had when it dies before it is ready, which the
  answer to an empty first batch tells.
- When `DEATHS` processes in a row have died without opening anything, or cannot be started, none is replaced
  any more, and without any the daemon's own process opens the batches; the log says so once.
- The sockets are closed in all other processes: when the daemon dies in whatever way, its workers see the
  end of their input and end.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from mixmail.daemon.unwrapper import FORGET, LENGTH, pack_batch, parse_answer
from mixmail.node.unwrapping import Opened, UnwrapJob

AHEAD = 2  # batches for each process: one that it is at, one that is there when it is done
DEATHS = 3
TRIES = 2
STOP_LIMIT = 5.0  # seconds until a process that does not end by itself is killed
BUFFER = 2**20  # bytes read at once, and asked of the kernel for each socket: a batch
COMMAND = ("-m", "mixmail.daemon.unwrapper")

Results = list[Opened | None]


@dataclass(slots=True, eq=False)
class _Task:
    job: UnwrapJob | None  # None: the empty batch
    done: Deferred[Results] = field(default_factory=Deferred)
    tries: int = 0


class WorkersFailed(Exception):
    """A batch was lost with two processes that died over it."""


class _Exit(ProcessProtocol):
    """Notes the end of one process."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


class _Worker(Protocol):
    """One process: the daemon's end of its socket, and its tasks in order."""

    def __init__(self, workers: UnwrapWorkers) -> None:
        self._workers = workers
        self.tasks: deque[_Task] = deque()
        self.exit = _Exit()
        self.process: Any = None
        self._data = bytearray()

    def give(self, task: _Task) -> None:
        """Hand it a task."""
        self.tasks.append(task)
        assert self.transport is not None
        self.transport.writeSequence(pack_batch(task.job) if task.job is not None else [FORGET])

    def dataReceived(self, data: bytes) -> None:
        """Parts of answers."""
        self._data += data
        while len(self._data) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._data)[0]
            if len(self._data) < end:
                return
            answer = bytes(memoryview(self._data)[LENGTH.size : end])
            del self._data[:end]
            self._workers.answered(self.tasks.popleft(), answer)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The process is gone, or about to be."""
        self._workers.lost(self)

    def kill(self) -> None:
        """End the process if it is still there."""
        try:
            self.process.signalProcess("KILL")
        except ProcessExitedAlready:
            return


def _no_longer(late: IDelayedCall, ended: None) -> None:
    if late.active():
        late.cancel()


class UnwrapWorkers:
    """`count` processes that open packets."""

    log = Logger()

    def __init__(self, reactor: Any, count: int) -> None:
        self.batches_ahead = AHEAD * count
        self._count = count
        self.gave_up = False
        self._reactor = reactor
        self._workers: list[_Worker] = []
        self._deaths = 0  # in a row
        self._stopping = False

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [worker.process.pid for worker in self._workers]

    def start(self) -> None:
        """Start the processes."""
        while len(self._workers) < self._count and not self.gave_up:
            self._spawn()

    def run(self, job: UnwrapJob) -> Deferred[Results]:
        """Open a batch; fires with what became of each packet, or WorkersFailed."""
        task = _Task(job)
        self._give(task)
        return task.done

    def forget_keys(self) -> None:
        """Behind the batches that it has, each process forgets all keys that it knows."""
        for worker in self._workers:
            worker.give(_Task(None))

    def stop(self) -> Deferred[None]:
        """End the processes; fires when they are gone.  What they have not answered is never answered."""
        self._stopping = True
        ends = []
        for worker in self._workers:
            assert worker.transport is not None
            worker.transport.loseConnection()
            late = self._reactor.callLater(STOP_LIMIT, worker.kill)
            ends.append(worker.exit.ended.addCallback(partial(_no_longer, late)))
        return DeferredList(ends).addCallback(lambda _: None)

    # what the processes report

    def answered(self, task: _Task, answer: bytes) -> None:
        """A process has done a task."""
        if task.job is not None:
            self._deaths = 0
            task.done.callback(parse_answer(answer))

    def lost(self, worker: _Worker) -> None:
        """The socket to a process is closed: put another in its place and hand on its tasks."""
        worker.kill()
        if self._stopping:
            return
        self._workers.remove(worker)
        self._died()
        self.start()
        if worker.tasks:
            worker.tasks[0].tries += 1  # only this one can be to blame; before the process is ready, none
        for task in worker.tasks:
            if task.job is None:
                continue
            if task.tries < TRIES:
                self._give(task)
            else:
                task.done.errback(WorkersFailed("two processes died over one batch of packets"))

    def _died(self) -> None:
        self._deaths += 1
        if self._deaths < DEATHS:
            self.log.warn("a process that opens packets has ended: another takes its place")
        elif not self.gave_up:
            self.gave_up = True
            self.log.error(
                "The processes that open packets keep ending: the daemon opens them until its next start."
            )

    def _give(self, task: _Task) -> None:
        if self._workers:
            min(self._workers, key=lambda worker: len(worker.tasks)).give(task)
        else:
            assert task.job is not None
            task.done.callback(task.job())

    def _spawn(self) -> None:
        worker = _Worker(self)
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with mine, theirs:
            mine.setblocking(False)
            for end in (mine, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            files = {0: theirs.fileno(), 1: 2, 2: 2}  # what it may say goes into the daemon's log
            command = (sys.executable, *COMMAND)
            try:
                worker.process = self._reactor.spawnProcess(
                    worker.exit, command[0], command, env=dict(os.environ), childFDs=files
                )
            except OSError as error:
                self.log.warn(
                    "a process that opens packets cannot be started: {reason}", reason=error.strerror
                )
                self._died()
                return
            self._reactor.adoptStreamConnection(
                mine.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: worker)
            )
        worker.transport.bufferSize = BUFFER  # type: ignore[union-attr]
        self._workers.append(worker)
        worker.give(_Task(None))
