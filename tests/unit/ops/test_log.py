"""The log is JSON, whole, and without a single number of a person."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from stream.ops import log


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The fields that are logged as JSON lines."""
    root = logging.getLogger()
    before = root.handlers[:]
    stream = io.StringIO()
    log.set_up("INFO", {"worker": 1}, stream)
    yield stream
    root.handlers = before
    logging.captureWarnings(capture=False)


def test_a_line_has_time_level_event_and_fields(lines: io.StringIO) -> None:
    """Whatever collects logs finds the same keys on each line."""
    logging.getLogger("stream.x").info("loaded %d lists", 3, extra={"took_s": 1.5, "list": "a/b"})
    line = json.loads(lines.getvalue())
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "event": "loaded 3 lists",
        "logger": "stream.x",
        "worker": 1,
        "took_s": 1.5,
        "list": "a/b",
    }


@pytest.mark.parametrize(
    "said", ["+66812345678", "+66 81 234 5678", "+1 (202) 555-0123", "sip:%2B66812345678@host"]
)
def test_no_number_is_ever_logged(lines: io.StringIO, said: str) -> None:
    """A number in the message, in a field or in a traceback is masked on its way out."""
    try:
        float(f"no {said}")
    except ValueError:
        logging.getLogger("stream.x").warning(
            "call from %s", said, extra={"caller": said, "more": [said]}, exc_info=True
        )
    text = lines.getvalue()
    assert said not in text
    digits = "".join(letter for letter in text if letter.isdigit())
    assert "2345678" not in digits
    assert "2025550123" not in digits
    assert "***" in json.loads(text)["caller"]
    assert "ValueError" in json.loads(text)["error"]


def test_times_offsets_and_sizes_stay(lines: io.StringIO) -> None:
    """A text that only resembles a number is not masked: an operator needs it."""
    logging.getLogger("stream.x").info("calls/3/1048577111 at 2026-08-01T10:00:00+07:00")
    assert (
        json.loads(lines.getvalue())["event"] == "calls/3/1048577111 at 2026-08-01T10:00:00+07:00"
    )


def test_others_speak_only_when_something_is_wrong(lines: io.StringIO) -> None:
    """Third parties' chatter does not fill the log."""
    logging.getLogger("aiokafka.x").info("joined")
    assert lines.getvalue() == ""


def test_on_a_terminal_a_person_can_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for people has the event and its fields, brackets as they are, and no numbers."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    root = logging.getLogger()
    before = root.handlers[:]
    log.set_up("INFO", {}, stream)
    logging.getLogger("stream.x").info("[ops] from +66812345678", extra={"worker": 2})
    root.handlers = before
    logging.captureWarnings(capture=False)
    text = stream.getvalue()
    assert "[ops] from +6681***5678" in text
    assert "worker=2" in text


def test_others_repeat_themselves_seldom(lines: io.StringIO) -> None:
    """A client of a broker that is away does not fill the disk; what was held back is counted."""
    now_s = 100.0
    seldom = log.RepeatFilter(lambda: now_s)
    theirs, ours = logging.getLogger("aiokafka"), logging.getLogger("stream.x")
    handler = logging.getLogger().handlers[0]
    handler.filters = [seldom]
    for attempt in range(50):
        theirs.error("no node %d", attempt)
        theirs.error("no metadata")
        ours.info("mine %d", attempt)
    now_s += log.SELDOM_S
    theirs.error("no node %d", 50)
    said = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert sum(line["event"].startswith("mine") for line in said) == 50
    assert [line["event"] for line in said if line["logger"] == "aiokafka"] == [
        *("no node 0", "no metadata", "no node 50")
    ]
    assert said[-1]["held_back"] == 49
