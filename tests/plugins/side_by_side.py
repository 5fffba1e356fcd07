"""Which tests may run beside each other when two processes share them (`make test`).

A file's tests stay together: they share servers and material. The fault tests are one group, so
that no two of them fight for the two cores of a small machine; what runs beside them is the rest.
"""

from pathlib import Path

import pytest

ONE_AFTER_THE_OTHER = "fault"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name each test's group, before pytest-xdist reads it."""
    here = Path(__file__).parents[1]
    for item in items:
        place = item.path.relative_to(here)
        group = place.parts[0] if place.parts[0] == ONE_AFTER_THE_OTHER else place.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
