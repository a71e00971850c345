"""All harnesses by name."""

from __future__ import annotations

import box_records
import control_lines
import directory_entries
import link_frames
import mail_texts
import sphinx_packets
from harness import Harness

_MODULES = (sphinx_packets, link_frames, box_records, directory_entries, mail_texts, control_lines)
ALL: dict[str, Harness] = {one.name: one for module in _MODULES for one in module.HARNESSES}
