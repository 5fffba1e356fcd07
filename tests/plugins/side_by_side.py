"""Which tests may run beside each other when several processes share them (`make test`).

A file's tests stay together: they share servers and material. The fault tests are one group, with
a broker of their own, so that no two of them fight for the two cores of a small machine; what runs
beside them is the rest. Those of the pages are another: one browser and one site for all of them.
Those of the broker that asks who is there are the third: it takes 10 s of CPU to start. Those that
have the same hundred files detected are the fourth, the rules of form the fifth: they read all of
our files.
"""

import gc
import importlib
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.plugins.changed import left_out

TOGETHER = {
    "tests/fault/": "faults",
    # These kill that broker, too.
    "tests/integration/test_serve.py::test_what_was_acknowledged": "faults",
    "tests/integration/test_fetcher_on_kafka.py::test_a_broker_that_restarts": "faults",
    "tests/browser/": "pages",
    **dict.fromkeys(
        (f"tests/integration/test_{name}.py" for name in ("oauth", "patience", "secured")),
        "secured broker",
    ),
    "tests/tidy/": "tidy",
    "tests/unit/feeds/test_gate_corpus.py": "detection",
    "tests/unit/feeds/detection/test_detect_corpus.py": "detection",
}
"""Groups by how their tests' names begin."""
ALONE = (
    "tests/simulation/test_histories.py",
    "tests/docs/test_transcripts.py",
    "tests/integration/test_demo.py",
)
"""Files whose tests are a group each."""
# These groups take minutes. They begin first, so that short ones are left to fill the end of a run.
LONG = ("tests/fault/", "tests/browser/", "tests/docs/", "tests/simulation/", "tests/integration/")
# The benches, which no collection enters; as in pyproject.toml.
NO_TESTS = "bench"


class SideBySide(LoadScopeScheduling):
    """By file, and some folders as one; pytest-xdist's own groups need marks on 8,500 tests."""

    def _split_scope(self, nodeid: str) -> str:
        """The group of a test: groups go to the processes whole, in the order of the tests."""
        file = nodeid.partition("::")[0]
        if file in ALONE:
            return nodeid
        return next((group for begin, group in TOGETHER.items() if nodeid.startswith(begin)), file)


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer | None) -> SideBySide:
    """Ours, whatever `--dist` says."""
    return SideBySide(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without a look for garbage among what stays, then or later in the run."""
    gc.disable()
    try:
        _import_share(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _import_share(config: pytest.Config) -> None:
    """Import this process's share of the test files, before all of them are collected.

    pytest compiles each test file with asserts that explain themselves, 30 ms a file, and keeps
    the result. In a fresh clone every process would compile all of them at the same moment.
    """
    given = getattr(config, "workerinput", None)
    if given is None:
        return
    mine, all_of_them = int(given["workerid"].removeprefix("gw")), given["workercount"]
    for module in list(_modules(config))[mine::all_of_them]:
        with suppress(Exception, pytest.skip.Exception):  # the collection itself reports it
            importlib.import_module(module)


def _modules(config: pytest.Config) -> Iterator[str]:
    """Names of the asked-for test files, as pytest imports them."""
    for given in config.args:
        path = (config.invocation_params.dir / given.partition("::")[0]).resolve()
        for file in sorted(path.rglob("test_*.py")) if path.is_dir() else [path]:
            if not file.is_relative_to(config.rootpath) or NO_TESTS in file.parts:
                continue
            if not left_out(config, file):
                yield ".".join(Path(file).relative_to(config.rootpath).with_suffix("").parts)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest groups first; the others stay in the order of their names."""
    ranks = {folder: rank for rank, folder in enumerate(LONG)}

    def rank(item: pytest.Item) -> int:
        return next((ranks[one] for one in LONG if item.nodeid.startswith(one)), len(LONG))

    items.sort(key=rank)
