"""Which process is meant: a number alone may be another program's by now."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PROC = Path("/proc")
_STATE, _START = 0, 19  # fields of /proc/PID/stat behind the name: state, start time since boot


def birth(pid: int) -> str | None:
    """When process `pid` began, as text without spaces; None if there is none (any more).

    A process that has ended and waits for its parent to look counts as gone.
    """
    return _birth_in_proc(pid) if (_PROC / "self" / "stat").exists() else _birth_by_ps(pid)


def _birth_in_proc(pid: int) -> str | None:
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[_STATE] in "ZX" else f"{boot}:{fields[_START]}"


def _birth_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    words = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return None if not words or words[0].startswith("Z") else "_".join(words[1:])


def name(pid: int) -> str:
    """What `living` knows a process by: its number and its birth."""
    return f"{pid} {birth(pid) or '-'}"


def living(text: str) -> int | None:
    """The pid in a text made by `name` if that very process still runs, else None."""
    number, _, born = text.strip().partition(" ")
    if not number.isdecimal() or not born or birth(int(number)) != born:
        return None
    return int(number)
