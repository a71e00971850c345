"""Real daemons, sockets and kills.  Each file builds its own network, so a file belongs into one process."""

from __future__ import annotations

import pytest

LONGEST_FIRST = ["test_kill9", "test_way_is_real", "test_bad_input", "test_cli_roundtrip"]
"""Two processes share the files: the long ones begin, the short ones fill up."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; the tests of a file keep their order."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
