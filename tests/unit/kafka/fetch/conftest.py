"""The fetcher's waits, shorter than in production."""

import pytest

from stream.kafka.fetch import broker, fetcher, partition_state


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "TEND_S", 0.01)
    monkeypatch.setattr(fetcher, "METADATA_S", 0.02)
    monkeypatch.setattr(partition_state, "BACK_OFF_S_MIN", 0.01)
    for module in (broker, partition_state):
        monkeypatch.setattr(module, "BACK_OFF_S_MAX", 0.05)
