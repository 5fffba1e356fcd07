"""The lane's waits, shorter than in production."""

import pytest

from stream.calls.lane import link, reader, reading


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "TEND_S", 0.01)
    monkeypatch.setattr(reader, "METADATA_S", 0.02)
    for module in (link, reading):
        monkeypatch.setattr(module, "BACK_OFF_S_MIN", 0.01)
        monkeypatch.setattr(module, "BACK_OFF_S_MAX", 0.05)
