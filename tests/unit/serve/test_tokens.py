"""Tokens are kept as hashes, and a file of them says what is wrong with it."""

from stream.serve.tokens import Client, Role, Tokens, line_of, new_token, read_tokens


def test_a_token_is_known_by_its_hash() -> None:
    """The line of a token finds its client again, holds no token, and no other token is known."""
    token, other = new_token(), new_token()
    line = line_of(Client("switch-1", Role.SWITCH), token)
    wrong: list[str] = []
    tokens = read_tokens(f"# who\n\n{line}  # the first\n", wrong)
    assert not wrong
    assert token not in line
    assert tokens.client_of(token) == Client("switch-1", Role.SWITCH)
    assert tokens.client_of(other) is None
    assert tokens.client_of("") is None
    assert tokens.client_of(token * 100) is None
    assert token not in repr(tokens)


def test_each_wrong_line_is_named() -> None:
    """Every line that can not be used is told with its number and what it should be."""
    line = line_of(Client("a", Role.VIEWER), new_token())
    text = (
        f"{line}\n{line}\nb viewer\nc boss {'0' * 64}\nd viewer {new_token()}\n-x viewer {'0' * 64}"
    )
    wrong: list[str] = []
    tokens = read_tokens(text, wrong)
    assert [name for _, name in tokens.held] == [Client("a", Role.VIEWER)]
    assert [error.split(" ")[1] for error in wrong] == ["2", "3", "4", "5", "6"]
    assert "a second time" in wrong[0]
    assert "switch, viewer, partner, operator" in wrong[2]
    assert "ringfence token d --role viewer" in wrong[3]


def test_without_tokens_nobody_is_known() -> None:
    """No tokens: nobody may ask."""
    assert Tokens().client_of(new_token()) is None
