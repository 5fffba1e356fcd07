"""stream.edge.http.appeal_service: the contact that a blocked caller reads."""

from typing import Any

import pytest

from stream.appeals.actions import AppealContext
from stream.core.model.agreement import Agreements
from stream.edge.http.appeal_service import AppealService
from stream.edge.http.auth import RateLimit
from tests.support.agreements import agreement


@pytest.mark.parametrize(
    ("list_name", "by", "told"),
    [
        pytest.param("KH/scam", "th-kh", "noc@kh.example", id="its party in the agreement"),
        pytest.param("KH/scam", None, "desk@cert.example", id="no agreement"),
        pytest.param("KH/scam", "gone", "desk@cert.example", id="an agreement that is gone"),
        pytest.param("LA/scam", None, "", id="nobody is known"),
    ],
)
def test_who_takes_a_number_off_is_told(list_name: str, by: str | None, told: str) -> None:
    """Where a list acts by an agreement its contact was null, and the page showed none."""
    nothing: Any = None
    held = Agreements((agreement("th-kh", ["KH/scam"]),))
    service = AppealService(
        decisions=nothing,
        store=nothing,
        connect=nothing,
        context=lambda: AppealContext("TH", {"plain": b""}, held, 7200),
        contacts={"KH": "desk@cert.example"},
        rate_limit=RateLimit(60),
    )
    assert service.contact(list_name, by) == told
