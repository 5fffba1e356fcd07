"""A command's arguments by its stdin."""

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st

from stream.ops.stdin_arguments import BY_STDIN, joined, parted

WORDS = st.lists(
    st.text(max_size=30) | st.sampled_from(["lists", "add", "--json", "+447700900123"])
)


@given(WORDS)
def test_all_words_arrive_and_argv_has_no_digit(words):
    """Whatever a form holds: the command has its words in their order, and `ps` no number."""
    argv, rest = parted(words)
    assert joined(argv, BytesIO(rest)) == words
    assert not any(char.isdigit() for word in argv for char in word)


def test_what_a_person_types_is_not_read_from_stdin():
    """Nobody waits for a terminal."""
    assert joined(["lists", "show"], BytesIO(b"never read")) == ["lists", "show"]
    assert joined([], BytesIO()) == []


def test_ps_shows_which_command_runs():
    """An operator who looks for what takes the time sees its name."""
    argv, _ = parted(["lists", "add", "TH/national", "+66812345678", "--reason=a person's"])
    assert argv == ["lists", "add", BY_STDIN]
