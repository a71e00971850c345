"""What all tests share: a home of their own, hypothesis' settings, and the rule about skipped tests.

A skipped (or expected-to-fail) test that is not listed with its reason in tests/skips.txt fails the
whole run.  The counts go to the file that MIXMAIL_TEST_REPORT names, for scripts/test.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

SKIPS = Path(__file__).parent / "skips.txt"

# Machines are shared and noisy: hypothesis must not judge by the clock, and CI must be repeatable.
hypothesis.settings.register_profile("mixmail", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "mixmail")


@pytest.fixture(autouse=True, scope="session")
def _home_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test ever sees the real home of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXMAIL_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("NO_COLOR", raising=False)
        yield


def read_skips(path: Path) -> dict[str, str]:
    """The lines `NODEID # REASON` of a skip list; a line without a reason is an error."""
    entries = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        nodeid, _, reason = line.partition(" # ")
        if not reason.strip():
            raise pytest.UsageError(f"{path.name}: no reason given for {line!r}: write NODEID # REASON")
        entries[nodeid.strip()] = reason.strip()
    return entries


def is_listed(nodeid: str, entries: dict[str, str]) -> bool:
    """Whether the test, or its file, or the test without its parameters is in the list."""
    return any(nodeid == entry or nodeid.startswith((f"{entry}::", f"{entry}[")) for entry in entries)


class Counts:
    """Counts outcomes in the process that leads the run (with xdist, the workers report to it)."""

    def __init__(self, listed: dict[str, str]) -> None:
        self.listed = listed
        self.outcomes: dict[str, str] = {}
        self.unlisted: list[tuple[str, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.outcomes[report.nodeid] = "failed"
        elif report.skipped:
            self._skipped(report)
        elif report.when == "call":
            self.outcomes.setdefault(report.nodeid, "passed")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.outcomes[report.nodeid] = "failed"
        elif report.skipped:
            self._skipped(report)

    def _skipped(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if self.outcomes.get(report.nodeid) == "skipped":
            return  # with xdist, each worker reports a file that is skipped as a whole
        self.outcomes[report.nodeid] = "skipped"
        if not is_listed(report.nodeid, self.listed):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected to fail"
            self.unlisted.append((report.nodeid, reason.removeprefix("Skipped: ")))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if name := os.environ.get("MIXMAIL_TEST_REPORT"):
            outcomes = list(self.outcomes.values())
            counts = {kind: outcomes.count(kind) for kind in ("passed", "failed", "skipped")}
            Path(name).write_text(json.dumps({**counts, "unlisted": self.unlisted}), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for nodeid, reason in self.unlisted:
            terminalreporter.write_line(f"SKIPPED and not listed in tests/skips.txt: {nodeid} ({reason})")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Counts(read_skips(SKIPS)), "mixmail-counts")
