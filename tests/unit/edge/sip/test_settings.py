"""`[sip]`: what is refused, in words that say what to do."""

from pathlib import Path

import pytest

from stream.config.settings import load
from stream.core.model.errors import ConfigInvalid


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('callers = ["contact"]', "in the order to look"),
        ("callers = []", "names none"),
        ('trunk_header = "X Trunk"', "is no name of a header field"),
        ("answer_allow = 302", "answer_allow = 302 sends calls there"),
        ('next_hop = "a b"', "must be host or host:port"),
        ("answer_allow = 503", "302"),
        ('trunks = { "192.0.2.1/24" = "gb" }', "must be an address or a network"),
        ('trunks = { "192.0.2.1" = "no" }', "names no table [trunks.no]"),
    ],
)
def test_wrong_settings_are_named(text: str, said: str, tmp_path: Path) -> None:
    """Each with its place, and what is allowed there."""
    file = tmp_path / "mine.toml"
    file.write_text(f'[sip]\n{text}\n[trunks.gb]\ncountry = "GB"\ningress = "domestic"\n')
    with pytest.raises(ConfigInvalid) as raised:
        load([file], {})
    assert any(said in error and "sip" in error for error in raised.value.errors)


def test_right_settings_are_taken(tmp_path: Path) -> None:
    """As the SIP page shows them."""
    file = tmp_path / "mine.toml"
    file.write_text(
        '[sip]\nanswer_allow = 302\nnext_hop = "[2001:db8::1]:5060"\n'
        'trunks = { "192.0.2.0/24" = "gb", "2001:db8::/32" = "gb" }\n'
        '[trunks.gb]\ncountry = "GB"\ningress = "domestic"\n'
    )
    assert load([file], {}).sip.hop == "[2001:db8::1]:5060"
