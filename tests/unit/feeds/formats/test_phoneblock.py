"""PhoneBlock's answer, and the FTC's file, beyond their samples."""

import json

import pytest

from stream.feeds.formats import ftc, phoneblock
from stream.feeds.formats.byte_columns import line_bytes
from stream.feeds.formats.rows import InputUnreadable


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"numbers": 7}', '{"numbers": []} x', '{"numbers": [{"phone": "+4']
)
def test_what_is_no_answer_of_phoneblock_is_refused(text):
    """An error, or half an answer, is refused as a whole."""
    with pytest.raises(InputUnreadable):
        list(phoneblock.read([text.encode()]))


def test_votes_are_worth_more_the_more_there_are():
    """Confidence rises with PhoneBlock's steps and is never certain; 0 votes are a removal."""
    numbers = [{"phone": "+447700900123", "votes": n} for n in (0, 1, 2, 4, 10, 20, 50, 100, 10**9)]
    (rows,) = phoneblock.read([json.dumps({"numbers": numbers, "version": 1}).encode()])
    assert rows.removed == [True] + [False] * 8
    worth = [int(text) for text in (rows.confidence or ())[1:] if text]
    assert worth == sorted(worth) == [20, 30, 45, 65, 80, 90, 95, 95]


@pytest.mark.parametrize("text", ["", "number\n+447700900123\n", "2025550123\n"])
def test_what_is_no_file_of_the_ftc_is_refused(text):
    """Another header means other columns: nothing is guessed."""
    with pytest.raises(InputUnreadable):
        list(ftc.read(line_bytes([text.encode()])))
