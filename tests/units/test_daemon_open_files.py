"""The limit of open files, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource
from mixmail.daemon.open_files import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))
print(raise_limit())
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("hard", "word"), [(4_096, "None"), (256, "lets mixmail open 256 files")])
def test_the_soft_limit_becomes_the_hard_one_and_too_few_are_told(hard: int, word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(hard=hard)], capture_output=True, text=True, check=True
    )
    said, now = done.stdout.splitlines()
    assert word in said
    assert int(now) == hard
