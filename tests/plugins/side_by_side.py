"""Which tests may run beside each other when two processes share them (`make test`).

A file's tests stay together: they share servers and material. The fault tests are one group, so
that no two of them fight for the two cores of a small machine; what runs beside them is the rest.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ONE_AFTER_THE_OTHER = "tests/fault/"


class SideBySide(LoadScopeScheduling):
    """By file, and the fault tests as one; pytest-xdist's own groups need marks on 3,900 tests."""

    def _split_scope(self, nodeid: str) -> str:
        """The group of a test: groups go to the two processes whole, in the order of the tests."""
        if nodeid.startswith(ONE_AFTER_THE_OTHER):
            return ONE_AFTER_THE_OTHER
        return nodeid.partition("::")[0]


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer | None) -> SideBySide:
    """Ours, whatever `--dist` says."""
    return SideBySide(config, log)
