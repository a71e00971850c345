"""Wires a daemon to its control socket and runs both: the one place that knows the two sides."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import FirstError, gatherResults, inlineCallbacks, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import FilteringLogObserver, Logger, LogLevel, LogLevelFilterPredicate, globalLogBeginner
from twisted.logger import textFileLogObserver as text_observer
from twisted.python.failure import Failure

from mixmail.cli.home import Home
from mixmail.control.daemon_backend import DaemonBackend
from mixmail.control.server import ControlPort, ControlServer, listen
from mixmail.daemon import open_files, service
from mixmail.daemon.echo import Echo
from mixmail.daemon.home import NodeHome
from mixmail.daemon.workshop import share_the_interpreter
from mixmail.directory import network_file
from mixmail.errors import UserError


def join(home: Home, file: bytes) -> None:
    """Set the network of this home.  UserError: the file is none, or the home is on another network."""
    wanted = network_file.parse(file.decode("utf-8", "replace"))
    node_home = NodeHome(home.folder)
    try:
        present = node_home.network_file()
    except UserError as error:
        if error.code != "no-network":
            raise
    else:
        if present.network().hash != wanted.network().hash:
            raise UserError(
                f"The home {home.folder} is on another network already: choose another with --home.",
                "network",
            )
    node_home.write_network_file(wanted)


def set_quota(home: Home, quota: int) -> None:
    """Keep at most `quota` bytes for others from the next start on.  UserError while a daemon runs."""
    node_home = NodeHome(home.folder)
    node_home.lock()
    try:
        node_home.write_config(msgspec.structs.replace(node_home.config(), quota=quota))
    finally:
        node_home.unlock()


def run_daemon(home: Home, fault: service.Fault = service.no_fault, workers: int = 0) -> None:
    """Run a daemon on this home until it is told to stop (by `shutdown`, SIGTERM or SIGINT).

    The control socket opens when the daemon is ready: who can connect can use it.  `fault` is for tests,
    `workers` as in `service.build`.  UserError: what kept it from starting.
    """
    reactor = _reactor()
    daemon = service.build(home.folder, reactor, reactor.getThreadPool(), fault=fault, workers=workers)
    ports: list[ControlPort] = []

    @inlineCallbacks
    def start() -> Any:
        yield daemon.start()
        backend = DaemonBackend(daemon, reactor.stop)
        server = ControlServer(backend, reactor)
        backend.publish_to(server.publish)
        ports.append(listen(home.socket, server, reactor))
        if daemon.config.echo:
            yield Echo(daemon).start()

    @inlineCallbacks
    def stop() -> Any:
        for port in ports:
            yield port.stop()
        yield _stop_all([daemon])

    _run(reactor, start, stop)


def run_nodes(homes: Sequence[Home]) -> None:
    """Run several nodes in this process, without control sockets: the others of a private network."""
    reactor = _reactor()
    daemons = [service.build(home.folder, reactor, reactor.getThreadPool()) for home in homes]
    _run(
        reactor,
        lambda: gatherResults([daemon.start() for daemon in daemons], consumeErrors=True),
        lambda: _stop_all(daemons),
    )


def _stop_all(daemons: Sequence[service.Daemon]) -> Any:
    """Stop those that got so far; one that failed to start has cleaned up by itself."""
    return gatherResults([daemon.stop() for daemon in daemons if daemon.ready], consumeErrors=True)


def _reactor() -> Any:
    from twisted.internet import reactor

    return reactor


def _run(reactor: Any, start: Callable[[], Any], stop: Callable[[], Any]) -> None:
    """Run the reactor between `start` and `stop`; raises what made either of them fail."""
    start_log()
    share_the_interpreter()
    few_files = open_files.raise_limit()
    if few_files is not None:
        Logger().warn("{text}", text=few_files)
    failures: list[Any] = []

    def note(failure: Failure) -> None:
        cause: Any = failure.value
        # of several nodes: what made the first one fail
        failures.append(cause.subFailure.value if isinstance(cause, FirstError) else cause)

    def failed(failure: Failure) -> None:
        note(failure)
        with contextlib.suppress(ReactorNotRunning):  # told to stop while it started
            reactor.stop()

    reactor.callWhenRunning(lambda: maybeDeferred(start).addErrback(failed))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: maybeDeferred(stop).addErrback(note))
    reactor.run()
    if failures:
        raise failures[0]


def start_log() -> None:
    """Log from info on to standard error: never an address, a key, a peer's IP or a box id."""
    wanted = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    observer = FilteringLogObserver(text_observer(sys.stderr), [wanted])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
