"""Which tests may run beside each other when two processes share them (`make test`).

A file's tests stay together: they share servers and material. The fault tests are one group, so
that no two of them fight for the two cores of a small machine; what runs beside them is the rest.
Those of the pages are another: one browser and one site for all of them.
"""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/fault/", "tests/browser/")


class SideBySide(LoadScopeScheduling):
    """By file, and some folders as one; pytest-xdist's own groups need marks on 3,900 tests."""

    def _split_scope(self, nodeid: str) -> str:
        """The group of a test: groups go to the two processes whole, in the order of the tests."""
        file = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer | None) -> SideBySide:
    """Ours, whatever `--dist` says."""
    return SideBySide(config, log)
