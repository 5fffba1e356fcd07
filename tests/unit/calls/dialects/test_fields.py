"""Promises of `stream.calls.dialects.fields`: nonsense is None, and nothing raises."""

from datetime import timedelta, timezone

import pytest

from stream.calls.dialects import fields
from stream.core.model.call import Ingress, Stage

ICT = timezone(timedelta(hours=7))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-11-25T01:02:03Z", 1795568523.0),
        ("2026-11-25T08:02:03+07:00", 1795568523.0),
        ("2026-11-25T01:02:03.500Z", 1795568523.5),
        ("2026-11-25 01:02:03", 1795568523.0),
        (1795568523, 1795568523.0),
        (1795568523.25, 1795568523.25),
        (1795568523250, 1795568523.25),
        ("1795568523", 1795568523.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("0000-00-00 00:00:00", None),
        (None, None),
        (True, None),
        ([], None),
        (-1, None),
        (1e300, None),
        (10**400, None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_times_in_every_spelling(value, seconds):
    """RFC 3339 and epochs in seconds or milliseconds are read; a bad date is no date."""
    assert seconds == fields.epoch_s(value)


def test_times_as_a_switch_writes_them():
    """A strptime format, in the switch's own zone where the text names none."""
    assert fields.written_s("25/11/26 08:02", "%d/%m/%y %H:%M", ICT) == 1795568520.0
    assert fields.written_s("2026-11-25T01:02:03Z", "%d/%m/%y", None) == 1795568523.0
    assert fields.written_s(1795568523, "%d/%m/%y", ICT) is None


def test_small_fields():
    """Stage, ingress, text and duration fall back where a record says nonsense."""
    assert (fields.stage("attempt"), fields.stage("begin"), fields.stage(["attempt"])) == (
        Stage.ATTEMPT,
        Stage.END,
        Stage.END,
    )
    assert (fields.ingress("domestic"), fields.ingress({})) == (Ingress.DOMESTIC, Ingress.UNKNOWN)
    assert (fields.text(""), fields.text(5), fields.text("x")) == (None, None, "x")
    assert [fields.duration_s(value) for value in (3.5, "12", -1, "inf", True, "long")] == [
        3.5,
        12.0,
        None,
        None,
        None,
        None,
    ]
