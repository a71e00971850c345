"""scripts/mutants: its table fits the code, it finds a mutant that lives and one that does not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).resolve().parents[2]
SCHEDULE = """
[[mutant]]
name = "{name}"
file = "mixmail/agent/schedule.py"
line = "{line}"
becomes = "{becomes}"
tests = ["tests/units/test_agent_schedule.py::test_a_late_query_does_not_leave_in_the_next_slot"]
"""


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_mutants", TOP / "scripts" / "run_mutants.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_line_of_the_table_stands_in_the_code(mutants: ModuleType) -> None:
    table = mutants.load()
    mutants.check(table)
    files = [mutant.file for mutant in table]
    assert sum(file.startswith("mixmail/node/") for file in files) >= 10
    assert sum(file.startswith("mixmail/agent/") for file in files) >= 10
    assert len({mutant.name for mutant in table}) == len(table)
    for mutant in table:
        for test in mutant.tests:
            path, _, function = test.partition("::")
            assert not function or f"def {function}(" in (TOP / path).read_text(encoding="utf-8"), test


def test_a_mutant_that_a_test_finds_and_one_that_none_finds(
    mutants: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.toml"
    killed = SCHEDULE.format(name="killed", line="if late:", becomes="if False:")
    harmless = SCHEDULE.format(name="harmless", line="if late:", becomes="if late is True:")
    broken = SCHEDULE.format(name="broken", line="if late:", becomes="if if:")
    table.write_text(killed, encoding="utf-8")
    assert mutants.main(["--table", str(table)]) == 0
    assert "1 of 1 mutants turn a test red" in capsys.readouterr().out
    table.write_text(killed + harmless + broken, encoding="utf-8")
    assert mutants.main(["--table", str(table)]) == 1
    words = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in words[:3]] == ["killed", "harmless", "broken"]
    assert words[0].endswith("red")
    assert words[1].endswith("GREEN: SURVIVES") and words[2].endswith("BROKEN: SURVIVES")
    assert words[3] == "1 of 3 mutants turn a test red"


@pytest.mark.parametrize(
    ("line", "problem"),
    [("if never_written:", "has 0 lines"), ("return None", "has 2 lines")],
)
def test_code_that_has_moved_on_is_told(
    mutants: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, problem: str
) -> None:
    table = tmp_path / "table.toml"
    table.write_text(SCHEDULE.format(name="gone", line=line, becomes="pass"), encoding="utf-8")
    for arguments in ([], ["--list"]):
        assert mutants.main([*arguments, "--table", str(table)]) == 2
        words = capsys.readouterr().err
        assert "the code has moved on" in words and problem in words and "table.toml" in words


def test_the_list_shows_the_lines_and_runs_nothing(
    mutants: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mutants.main(["--list", "replay"]) == 0
    out = capsys.readouterr().out
    assert "- if not self._replay.check_and_add(epoch, packet.replay_tag, source):" in out
    assert mutants.main(["--list", "no such word"]) == 2
