"""Real daemons, sockets and kills.  Each file builds its own network, so a file belongs into one process."""

from __future__ import annotations

import pytest

LONGEST_FIRST = ["test_kill9", "test_way_is_real", "test_cli_roundtrip", "test_bad_input"]
"""Two processes share the files.  xdist gives the third file to the one that has a single test, so kill9 and
the command line go together, and so do the other two."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; the tests of a file keep their order."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
