"""The lock files and scripts/setup: what a newcomer meets first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
LOCKS = {kind: TOP / f"scripts/requirements-{kind}.lock" for kind in ("run", "test", "fuzz")}


def pins(kind: str) -> dict[str, set[str]]:
    """Requirement line (name, version, marker) -> its hashes."""
    found: dict[str, set[str]] = {}
    for entry in LOCKS[kind].read_text(encoding="utf-8").replace("\\\n", "").splitlines():
        if entry and not entry.startswith("#"):
            requirement, *hashes = re.split(r"\s+--hash=", entry.strip())
            found[requirement.strip()] = set(hashes)
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!\[; ]", name)[0]).lower()


@pytest.mark.parametrize("kind", LOCKS)
def test_each_package_is_pinned_and_hashed(kind: str) -> None:
    for requirement, hashes in pins(kind).items():
        assert re.match(r"^[a-z0-9-]+==[\w.+]+( ; .+)?$", requirement)
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_file_names_no_place(kind: str) -> None:
    text = LOCKS[kind].read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|--index|--extra|--find-links|@ |/home|/tmp", text)


def test_the_test_environment_runs_the_program_with_the_same_packages() -> None:
    assert pins("run").items() <= pins("test").items() <= pins("fuzz").items()


def test_the_locks_have_what_the_project_asks_for() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for kind, wanted in (
        ("run", project["dependencies"]),
        ("test", project["optional-dependencies"]["test"]),
        ("fuzz", project["optional-dependencies"]["fuzz"]),
    ):
        locked = {normal(requirement) for requirement in pins(kind)}
        assert {normal(name) for name in wanted} <= locked


# scripts/setup, on a copy, so that the real environment is never touched


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "a checkout"
    shutil.copytree(TOP / "scripts", place / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return place


def setup(checkout: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(checkout / "scripts/setup"), *words]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)


def fake_python(folder: Path, version: str, status: int) -> Path:
    """An interpreter that only tells its version; `status` answers whether that is new enough."""
    folder.mkdir()
    path = folder / "python3"
    path.write_text(
        f'#!/bin/sh\ncase "$1" in --version) echo "Python {version}";; -c) exit {status};; *) exit 1;; esac\n'
    )
    path.chmod(0o755)
    return path


def test_an_old_python_is_one_sentence(checkout: Path, tmp_path: Path) -> None:
    old = fake_python(tmp_path / "old", "3.9.2", 1)
    for tool in ("bash", "dirname", "cat", "cmp", "sed", "grep"):
        (tmp_path / "old" / tool).symlink_to(str(shutil.which(tool)))
    result = setup(checkout, PATH=str(old.parent), MIXMAIL_PYTHON="")
    assert result.returncode == 1
    assert result.stderr.startswith("mixmail: Python 3.11 or newer is needed, found Python 3.9.2: ")
    assert result.stderr.count("\n") == 1


def test_a_named_python_that_is_none_is_one_sentence(checkout: Path) -> None:
    result = setup(checkout, MIXMAIL_PYTHON="/does/not/exist")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "MIXMAIL_PYTHON=/does/not/exist" in result.stderr


def test_a_python_without_venv_is_said(checkout: Path, tmp_path: Path) -> None:
    result = setup(checkout, MIXMAIL_PYTHON=str(fake_python(tmp_path / "bare", "3.12.0", 0)))
    assert result.returncode == 1
    assert "install its venv module" in result.stderr.splitlines()[-1]


def test_a_ready_environment_is_left_alone(checkout: Path) -> None:
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    for name in ("python", "mixmail"):
        (venv / "bin" / name).symlink_to(sys.executable)
    (venv / "stamp.place").write_text(f"{checkout}\n")
    shutil.copy(LOCKS["run"], venv / "stamp.run")
    nowhere = {"MIXMAIL_PYTHON": "/does/not/exist"}  # it is not even looked at
    assert setup(checkout, "run", **nowhere).returncode == 0
    assert setup(checkout, "test", **nowhere).returncode == 1
    (venv / "stamp.run").write_text("another lock file")
    assert setup(checkout, "run", **nowhere).returncode == 1


def test_what_setup_does_not_know_it_says(checkout: Path) -> None:
    result = setup(checkout, "everything")
    assert result.returncode == 2
    assert "scripts/setup [run|test|fuzz]" in result.stdout
