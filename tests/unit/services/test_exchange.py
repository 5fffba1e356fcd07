"""The health of the process that publishes our lists."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stream.config.settings import load
from stream.core.model.errors import ExchangeFault
from stream.exchange.publisher import Well
from stream.services.exchange import _Publishing


def test_a_list_without_a_role_keeps_nobody_from_being_ready(tmp_path: Path) -> None:
    """Its last fault would stay until a restart: the list is not looked at any more."""
    offers: Any = SimpleNamespace(names=frozenset({"KH/scam", "KH/old"}))
    outlet: Any = SimpleNamespace(folder=tmp_path)
    process = _Publishing(load([], {}), outlet, offers)
    process._tell("", Well())
    for name in sorted(offers.names):
        process._tell(name, ExchangeFault("its key is not here"))
    text = "its key is not here"
    assert [*process.readiness.missing] == [f"KH/old: {text}", f"KH/scam: {text}"]
    offers.names = frozenset({"KH/scam"})
    assert [*process.readiness.missing] == [f"KH/scam: {text}"]
