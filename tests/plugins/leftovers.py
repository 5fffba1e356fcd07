"""Leftovers that fail a test: an unexpected error in the log, or a running task.

Both are how bugs in the background stay unseen. A test that provokes errors says so:
`@pytest.mark.expects_errors("connection")` (a pattern; without one, any error).
"""

import asyncio
import functools
import inspect
import logging
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from stream.ops.log import OURS
from tests.plugins.services import SERVICES

TASKS_END_S = 10.0
"""A task that ends by itself has done so by then, on a busy machine too; a leak only costs this."""


class Errors(logging.Handler):
    """Keeps what was logged at ERROR or above."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, with the exception's last line where there is one."""
        error = f" ({record.exc_info[1]!r})" if record.exc_info else ""
        self.lines.append(f"{record.name}: {record.getMessage()}{error}")


TORN = "aiokafka.conn: Unexpected exception in AIOKafkaConnection (ValueError("
"""An answer that ends too soon, as Tansu gives one now and then; the client connects again."""


def _of_tansu(config: pytest.Config) -> bool:
    services = config.stash[SERVICES]
    return services is not None and services.broker.startswith("Tansu")


@pytest.fixture(autouse=True)
def _no_unexpected_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test if an error was logged that its `expects_errors` marker does not cover."""
    errors = Errors()
    root = logging.getLogger()
    root.addHandler(errors)
    yield
    root.removeHandler(errors)
    lines = [line for line in errors.lines if not (_of_tansu(request.config) and TORN in line)]
    expected = request.node.get_closest_marker("expects_errors")
    pattern = expected.args[0] if expected and expected.args else ""
    unexpected = [line for line in lines if expected is None or not re.search(pattern, line)]
    if unexpected:
        pytest.fail("errors were logged:\n  " + "\n  ".join(unexpected), pytrace=False)


@pytest.fixture(autouse=True)
def _levels_as_they_were() -> Iterator[None]:
    """Take back the levels of the log that a test has set: `caplog` of a later one sees by them."""
    loggers = [logging.getLogger(), logging.getLogger(OURS)]
    levels = [one.level for one in loggers]
    yield
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every async test answer for the tasks that it started."""
    for item in items:
        test = getattr(item, "obj", None)
        if inspect.iscoroutinefunction(test) and isinstance(item, pytest.Function):
            item.obj = answering_for_its_tasks(test)


def answering_for_its_tasks(
    test: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., Coroutine[Any, Any, None]]:
    """Wrap an async test: tasks that it started and that do not end soon fail it."""

    @functools.wraps(test)
    async def checked(*args: Any, **kwargs: Any) -> None:
        before = asyncio.all_tasks()
        await test(*args, **kwargs)
        started = asyncio.all_tasks() - before
        if started:
            _, running = await asyncio.wait(started, timeout=TASKS_END_S)
            names = [repr(task.get_coro()) for task in running]
            if names:
                pytest.fail("tasks still run:\n  " + "\n  ".join(names), pytrace=False)

    return checked
