"""The line at the bottom: the network, the next slot, and what the network cannot promise."""

from __future__ import annotations

import time

from textual.content import Content
from textual.widgets import Static

from mixmail.control.types import Status
from tui import safe_text, words

_SEPARATOR = " · "


class StatusLine(Static):
    """Facts on the left, warnings on the right, or below where one line is too short."""

    def __init__(self) -> None:
        super().__init__(id="status", markup=False)
        self._status: Status | None = None
        self._taken_at = 0.0
        self._away = False
        self._shown: Content | None = None

    def on_mount(self) -> None:
        self.set_interval(1.0, self.tick)
        self.tick()

    def show_status(self, status: Status) -> None:
        self._status = status
        self._taken_at = time.monotonic()
        self._away = False
        self.tick()

    def show_away(self) -> None:
        """The daemon is gone: what is known is old."""
        self._away = True
        self.tick()

    def tick(self) -> None:
        text = self.text(self.app.size.width - 2)
        if text != self._shown:
            self._shown = text
            self.update(text)

    def on_resize(self) -> None:
        self.tick()

    def text(self, width: int) -> Content:
        """The line (or two) for this many cells."""
        status = self._status
        if status is None or self._away:
            return Content.styled("background process not reached", "dim")
        facts = [
            f"{status.preset} network",
            words.people(status.peers, "peer", "peers"),
            f"next slot {self._next_slot(status)}",
            words.people(status.waiting, "packet waiting", "packets waiting"),
        ]
        warnings = [
            *[str(safe_text.line(one, 100)) for one in status.warnings],
            *([words.lossy(status.lossy_nodes)] if status.lossy_nodes else []),
            *([] if status.anonymous else [f"{status.preset} network: not anonymous"]),
            *([words.small_network(status)] if status.small_network is not None else []),
        ]
        if status.preset and not status.anonymous:
            del facts[0]  # the warning names the network already
        left = Content.styled(_SEPARATOR.join(facts), "dim")
        if not warnings:
            return left
        right = Content.styled(f"⚠ {_SEPARATOR.join(warnings)}", "$warning")
        if left.cell_length + right.cell_length + 3 <= width:
            gap = " " * (width - left.cell_length - right.cell_length)
            return Content.assemble(left, gap, right)
        return Content.assemble(left, "\n", right)

    def _next_slot(self, status: Status) -> str:
        if status.slot_s < 2:
            return f"{min(status.next_slot_s, status.slot_s):.1f} s"
        passed = time.monotonic() - self._taken_at
        return f"{(status.next_slot_s - passed) % status.slot_s:.0f} s"
