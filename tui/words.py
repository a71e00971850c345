"""How the screen says times, sizes, waits and the state of a mail."""

from __future__ import annotations

import time

from mixmail.control.types import LossyNode, MailSummary, Status

MEAN_SLOTS = 56
"""Slots from send to shown in the mean (28 minutes at 30 s), for a daemon that does not tell."""


def when(date: float, now: float) -> str:
    """A date in at most 7 characters: 14:05 today, 9 Mar this year, else 2024-03."""
    then, today = time.localtime(date), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    if then.tm_year == today.tm_year:
        return f"{then.tm_mday} {time.strftime('%b', then)}"
    return f"{then.tm_year:04}-{then.tm_mon:02}"


def long_date(date: float) -> str:
    then = time.localtime(date)
    return f"{time.strftime('%A', then)}, {then.tm_mday} {time.strftime('%B %Y, %H:%M', then)}"


def duration(seconds: float) -> str:
    """A rough length of time: 10 s, 28 min, 3 h, 2 days."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86_400)} days"


def size(count: int) -> str:
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.1f} KB" if count < 10_000 else f"{count // 1000} KB"
    return f"{count / 1_000_000:.1f} MB"


def delivery(status: Status) -> str:
    """The mean time that a mail takes on this network, as words."""
    return duration(status.delivery_s or MEAN_SLOTS * status.slot_s)


def arrival(status: Status | None) -> str:
    """What compose says about the wait."""
    if status is None:
        return "the wait is known as soon as the network is"
    where = "" if status.anonymous else f" on this {status.preset} network"
    return f"arrives in about {delivery(status)}{where}"


def state(mail: MailSummary) -> tuple[str, str]:
    """(glyph, words) for the state of an own mail; both empty for a mail received.

    Never more than is known: "sent" counts packets that left, "stored" homes that answered.
    """
    match mail.state:
        case "queued":
            return "○", "queued"
        case "sent":
            return "◔", f"sent {mail.sent_parts}/{mail.parts}"
        case "stored":
            return "◑", f"stored {mail.stored_min} of {mail.replicas}"
        case "answered":
            return "●", "answered"
        case "failed":
            return "✗", "failed"
        case _:
            return "", ""


def tone(mail: MailSummary) -> str:
    """The colour role of that state; never its only sign."""
    return {"stored": "good", "answered": "good", "failed": "bad"}.get(mail.state, "quiet")


def small_network(status: Status) -> str:
    """Empty where the network is large enough."""
    if status.small_network is None:
        return ""
    return f"small network: at most {status.small_network} people"


def lossy(nodes: list[LossyNode]) -> str:
    """The node that loses most, and that there are more."""
    more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    return f"node {nodes[0].node_id[:8]}{more} loses packets"


def people(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
