"""Tokens are kept as hashes, and a file of them says what is wrong with it."""

import pytest

from stream.edge.http.tokens import (
    Client,
    ClientRole,
    Tokens,
    line_of,
    new_token,
    read_tokens,
    revoked,
)


def test_a_token_is_known_by_its_hash() -> None:
    """The line of a token finds its client again, holds no token, and no other token is known."""
    token, other = new_token(), new_token()
    line = line_of(Client("switch-1", ClientRole.SWITCH), token)
    wrong: list[str] = []
    tokens = read_tokens(f"# who\n\n{line}  # the first\n", wrong)
    assert not wrong
    assert token not in line
    assert tokens.client_of(token) == Client("switch-1", ClientRole.SWITCH)
    assert tokens.client_of(other) is None
    assert tokens.client_of("") is None
    assert tokens.client_of(token * 100) is None
    assert token not in repr(tokens)


def test_each_wrong_line_is_named() -> None:
    """Every line that cannot be used is reported with its number and what it should be."""
    line = line_of(Client("a", ClientRole.VIEWER), new_token())
    text = (
        f"{line}\n{line}\nb viewer\nc boss {'0' * 64}\nd viewer {new_token()}\n-x viewer {'0' * 64}"
    )
    wrong: list[str] = []
    tokens = read_tokens(text, wrong)
    assert [name for _, name in tokens.held] == [Client("a", ClientRole.VIEWER)]
    assert [error.split(" ")[1] for error in wrong] == ["2", "3", "4", "5", "6"]
    assert "a second time" in wrong[0]
    assert "switch, viewer, partner, operator" in wrong[2]
    assert "ringfence token create d --role viewer" in wrong[3]


def test_without_tokens_nobody_is_known() -> None:
    """No tokens: nobody may ask."""
    assert Tokens().client_of(new_token()) is None


def test_a_line_says_until_when() -> None:
    """The end is in the line, in UTC, and is over from its second on."""
    token, until_s = new_token(), 1_800_000_000
    line = line_of(Client("a", ClientRole.VIEWER, until_s), token)
    assert line.endswith(" expires=2027-01-15T08:00:00Z")
    tokens = read_tokens(line, [])
    client = tokens.client_of(token)
    assert client == Client("a", ClientRole.VIEWER, until_s)
    assert tokens.expiries == {"a": until_s}
    assert [client.expired(until_s + late) for late in (-1, 0, 1)] == [False, True, True]
    assert not Client("a", ClientRole.VIEWER).expired(1 << 40)


@pytest.mark.parametrize(
    "end", ["2027-01-31", "expires=2027-01-31", "expires=soon", "expires=", "expires=9999999999"]
)
def test_an_end_that_is_none_is_named(end: str) -> None:
    """A moment without zone, or in other words, is refused with its line: it never means never."""
    wrong: list[str] = []
    assert not read_tokens(f"a viewer {'0' * 64} {end}", wrong).held
    assert "expires=2027-01-31T00:00:00Z" in wrong[0]


def test_who_is_revoked_leaves_a_comment() -> None:
    """The file without a client: its line can be read, and counts no more; the others stay."""
    kept, gone = (line_of(Client(name, ClientRole.VIEWER), new_token()) for name in ("a", "b"))
    text = revoked(f"# ours\n{kept}\n  {gone}  # a note", "b", 1_800_000_000, "left us")
    assert text is not None
    wrong: list[str] = []
    assert [client.name for _, client in read_tokens(text, wrong).held] == ["a"]
    assert not wrong
    assert f"# revoked 2027-01-15T08:00:00Z (left us): {gone}  # a note\n" in text
    assert revoked(text, "b", 0, "") is None
    assert revoked(f"# b\n{kept}", "b", 0, "") is None
