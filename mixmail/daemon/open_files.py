"""How many files and sockets this process may open: as many as the system lets it."""

from __future__ import annotations

import sys

from mixmail.params import NODE_LIMITS

SPARE = 128  # databases, log, control socket, libraries


def raise_limit() -> str | None:
    """Raise the soft limit of open files to the hard one; a sentence if that is too low for all links.

    Windows has no such limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # macOS says "unlimited" and refuses it
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = NODE_LIMITS.link_callers + NODE_LIMITS.link_pending + SPARE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    return (
        f"This system lets mixmail open {soft} files, and {needed} are needed when many nodes call: "
        "raise the limit (ulimit -n, or LimitNOFILE of the service)."
    )
