"""`ringfence promote` and `demote` where Kafka is away."""

from pathlib import Path

import pytest

from tests.support.commands import command


@pytest.mark.expects_errors("Unable connect to")
@pytest.mark.parametrize("verb", ["promote", "demote"])
def test_without_kafka_it_says_what_needs_none(verb: str, tmp_path: Path) -> None:
    """A list that blocks a bank has to be stopped at once, also where only Kafka is down."""
    config = tmp_path / "away.toml"
    config.write_text('[kafka]\nbootstrap_servers = "127.0.0.1:1"\n')
    words = ("list:KH/scam", "--reason", "x", "--config", str(config), "--timeout", "0.1")
    done = command(verb, *words)
    assert done.code == 3
    assert "nothing was done; --no-figures needs no Kafka" in done.err
