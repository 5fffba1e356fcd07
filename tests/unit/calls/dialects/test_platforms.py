"""CGRateS and Kazoo: units and eras of their times, and which of several numbers counts."""

import json

import pytest

from stream.calls.dialects import dialect_named
from stream.core.model.call import Stage

CGRATES, KAZOO = dialect_named("cgrates", {}), dialect_named("kazoo", {})
AT_S = 1795593723.0
GREGORIAN = 62_167_219_200

SPANS = {
    "nanoseconds": (61_500_000_000, 61.5),
    "nanoseconds as text": ("61000000000", 61.0),
    "seconds": ("10s", 10.0),
    "several units": ("1h2m3.5s", 3723.5),
    "milliseconds": ("250ms", 0.25),
    "none": ("0s", 0.0),
    "negative": (-1, None),
    "no span": ("soon", None),
    "not a text": ([1], None),
}


@pytest.mark.parametrize(("usage", "expected"), SPANS.values(), ids=SPANS)
def test_usage_is_in_nanoseconds_or_says_its_units(usage: object, expected: float | None) -> None:
    """As Go writes a duration; what is none costs only itself."""
    call = {"OriginID": "a", "Account": "+447700900125", "Destination": "1", "Usage": usage}
    assert CGRATES.details(json.dumps(call).encode()).duration_s == expected


def kazoo(**more: object) -> bytes:
    call = {"call_id": "c", "caller_id_number": "+447700900125", "callee_id_number": "0812"}
    return json.dumps(call | more).encode()


MOMENTS = {
    "Gregorian": ({"timestamp": GREGORIAN + AT_S + 8}, AT_S),
    "Gregorian as text": ({"timestamp": str(GREGORIAN + int(AT_S) + 8)}, AT_S),
    "microseconds": ({"timestamp": (AT_S + 8) * 1e6}, AT_S),
    "seconds": ({"timestamp": AT_S + 8}, AT_S),
    "begun just now": ({"timestamp": GREGORIAN + AT_S, "hook_event": "channel_create"}, AT_S),
    "before 2000": ({"timestamp": GREGORIAN}, None),
    "no time": ({"timestamp": "never"}, None),
    "none": ({}, None),
}


@pytest.mark.parametrize(("more", "expected"), MOMENTS.values(), ids=MOMENTS)
def test_a_cdrs_time_is_the_hang_ups(more: dict[str, object], expected: float | None) -> None:
    """The call began its duration earlier; an event of a beginning says when that was."""
    assert KAZOO.started_at_s(kazoo(duration_seconds=8, **more)) == expected


def test_the_number_that_was_called_is_there_before_anybody_answers() -> None:
    """An inbound leg has no `callee_id_number` yet: `request` and `to` say who is called."""
    told = KAZOO.key_fields(kazoo(callee_id_number="", request="", to="0812345678@pbx.example"))
    assert told.callee == "0812345678@pbx.example"
    assert KAZOO.key_fields(kazoo(to="other@pbx.example")).callee == "0812"
    assert KAZOO.key_fields(kazoo(callee_id_number=None)).callee is None


def test_legs_of_an_interaction_are_one_call() -> None:
    """Each leg has an id; the interaction's is the same for all."""
    assert KAZOO.key_fields(kazoo(interaction_id="63-cc")).call_id == "63-cc"
    create, destroy = kazoo(hook_event="channel_create"), kazoo(hook_event="channel_destroy")
    assert KAZOO.key_fields(create).call_id == KAZOO.key_fields(destroy).call_id == "c"
    stages = [KAZOO.details(value).stage for value in (create, destroy, kazoo())]
    assert stages == [Stage.ATTEMPT, Stage.END, Stage.END]
