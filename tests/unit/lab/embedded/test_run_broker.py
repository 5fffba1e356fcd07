"""One broker for the processes of a run."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.plugins.run_broker import RunBroker, run_broker
from tests.support.waiting import until_now

BROKER = RunBroker("127.0.0.1:20001", "Apache Kafka", supports_transactions=True)


def test_it_ends_after_the_last_that_uses_it(tmp_path: Path) -> None:
    """The second joins the first's, which waits for its end; a later one starts its own."""
    said: list[str] = []

    @contextmanager
    def start() -> Iterator[Any]:
        said.append("started")
        yield BROKER
        said.append("ended")

    first = run_broker(tmp_path, start)
    with ThreadPoolExecutor(1) as thread:
        assert first.__enter__() == BROKER
        with run_broker(tmp_path, start) as joined:
            assert joined == BROKER
            ending = thread.submit(first.__exit__, None, None, None)
            until_now(lambda: not (tmp_path / "broker.json").exists(), "the first to end")
            assert said == ["started"]
        ending.result()
    assert said == ["started", "ended"]
    with run_broker(tmp_path, start):
        assert said == ["started", "ended", "started"]
