"""Refusals are limited, right tokens never."""

import base64
import logging

import pytest

from stream.edge.http.auth import Auth, RateLimit
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import Client, ClientRole, digest_of, line_of, read_tokens

SWITCH = frozenset({ClientRole.SWITCH})


def auth(refusals_per_minute: int = 3) -> Auth:
    line = line_of(Client("sw", ClientRole.SWITCH), "rf_right")
    return Auth(read_tokens(line, []), refusals_per_minute)


def admit(auth: Auth, header: str | None, roles: frozenset[ClientRole] = SWITCH) -> Client:
    headers = [] if header is None else [(b"authorization", header.encode())]
    return auth.admit(headers, roles, address="192.0.2.1", route="/v1/x", request_id="r")


def refusal(auth: Auth, header: str | None, roles: frozenset[ClientRole] = SWITCH) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        admit(auth, header, roles)
    return caught.value


def test_bearer_and_basic_are_both_read() -> None:
    """A switch that only knows HTTP Basic sends its token as the password."""
    basic = base64.b64encode(b"anybody:rf_right").decode()
    assert admit(auth(), "Bearer rf_right").name == "sw"
    assert admit(auth(), f"basic {basic}").name == "sw"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer x", "Basic %%%", "Digest rf_right"])
def test_no_right_token_is_401(header: str | None) -> None:
    """The answer to anything else says how to ask."""
    problem = refusal(auth(), header)
    assert (problem.kind, problem.status) == (ProblemKind.NOT_AUTHENTICATED, 401)
    assert problem.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_wrong_role_is_403() -> None:
    """The answer to a known client names the role that it needs, and the role that it has."""
    problem = refusal(auth(), "Bearer rf_right", frozenset({ClientRole.OPERATOR}))
    assert problem.status == 403
    assert "operator" in problem.detail
    assert "switch" in problem.detail


def test_refusals_are_audited_until_they_are_too_many(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the limit it is 429 without an audit line; a right token still gets in from there."""
    caplog.set_level(logging.WARNING, "stream.edge.http.audit")
    asked = auth(refusals_per_minute=3)
    statuses = [refusal(asked, "Bearer wrong").status for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert len(caplog.records) == 3
    assert "wrong" not in caplog.text.replace("wrong-role", "")
    assert admit(asked, "Bearer rf_right").name == "sw"


def test_the_pace_recovers_and_its_memory_is_bounded() -> None:
    """After its wait one more is let through, and ten thousand strangers cost no more memory."""
    at_s = [0.0]
    pace = RateLimit(60, lambda: at_s[0])
    waits = [pace.take("a") for _ in range(61)]
    assert waits[:60] == [0.0] * 60
    assert waits[60] == pytest.approx(1.0)
    at_s[0] += 1.0
    assert pace.take("a") == 0.0
    for stranger in range(10_050):
        pace.take(str(stranger))
    assert len(pace._left) == 10_000


def test_two_headers_are_none() -> None:
    """Which of two tokens a proxy before us looked at, nobody knows: neither counts, and it says
    so.
    """
    headers = [(b"authorization", b"Bearer rf_right"), (b"authorization", b"Bearer rf_right")]
    with pytest.raises(ProblemError) as caught:
        auth().admit(headers, SWITCH, address="192.0.2.1", route="/v1/x", request_id="r")
    assert caught.value.status == 401
    assert "more than once" in caught.value.detail


def test_a_token_ends_with_its_time() -> None:
    """From its last second on it is 401, says why, and opens neither page nor session."""
    at_s = [999]
    line = line_of(Client("sw", ClientRole.SWITCH, 1000), "rf_right")
    asked = Auth(read_tokens(line, []), 30, lambda: at_s[0])
    digest = digest_of("rf_right")
    assert admit(asked, "Bearer rf_right").name == "sw"
    assert asked.still(digest) is not None
    at_s[0] = 1000
    assert refusal(asked, "Bearer rf_right").detail.startswith("the token has expired")
    assert asked.still(digest) is None
    with pytest.raises(ProblemError, match="has expired"):
        asked.recognise("rf_right", address="192.0.2.1", route="/sign-in", request_id="r")


def test_other_tokens_are_taken_up_at_once() -> None:
    """A token that is not among the new ones is refused, even if it was accepted a moment ago."""
    asked = auth()
    assert admit(asked, "Bearer rf_right").role is ClientRole.SWITCH
    asked.take_up(read_tokens(line_of(Client("sw", ClientRole.SWITCH), "rf_other"), []))
    assert refusal(asked, "Bearer rf_right").status == 401
    assert asked.still(digest_of("rf_right")) is None
    assert admit(asked, "Bearer rf_other").name == "sw"
    asked.take_up(read_tokens(line_of(Client("sw", ClientRole.VIEWER), "rf_other"), []))
    assert refusal(asked, "Bearer rf_other").status == 403
