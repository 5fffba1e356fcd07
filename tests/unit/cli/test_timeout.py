"""`--timeout`: which commands have it, and what it does to the settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from stream.cli.common import settings_of
from stream.cli.main import app
from stream.cli.options import CHOSEN, LOCAL, SERVICES, TIMEOUT_S
from stream.kafka.clients import Patience
from stream.kafka.settings import KafkaSettings

ROOT: Any = typer.main.get_command(app)


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that can be typed."""
    group: Any = command
    inner = group.list_commands(None) if isinstance(command, TyperGroup) else []
    if not inner or any(option.name == "config" for option in command.params):
        yield path, command
    for name in inner:
        yield from leaves(group.get_command(None, name), (*path, name))


def test_every_command_that_asks_a_server_can_be_told_how_long() -> None:
    """None waits for ever but services; what asks nobody does not offer it."""
    found = dict(leaves(ROOT))
    assert found.keys() >= SERVICES | LOCAL, "a table names a command that is gone"
    for path, command in found.items():
        has = any(option.name == "timeout" for option in command.params)
        assert has == (path not in SERVICES | LOCAL), path
    assert ("topics", "create") in found.keys() - SERVICES - LOCAL


def test_what_is_chosen_reaches_the_clients(tmp_path: Path) -> None:
    """By default fifteen seconds; a service in the same process waits for ever again."""
    for words, wanted in (
        (["topics", "show", "--help"], None),
        (["token", "list"], None),
        (["lists", "show", "--timeout", "3", "--config", str(tmp_path / "no")], 3.0),
        (["topics", "show", "--config", str(tmp_path / "no")], TIMEOUT_S),
    ):
        CliRunner().invoke(app, words)
        assert CHOSEN.seconds == wanted, words
        kafka = settings_of(None).kafka_client()
        assert kafka.patience_s == wanted
        assert ("request_timeout_ms" in kafka.options()) == (wanted is not None)
    CHOSEN.seconds = None


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf", "soon", "1e9"])
def test_no_time_is_refused(wrong: str) -> None:
    """The message has the option's name."""
    done = CliRunner().invoke(app, ["topics", "show", "--timeout", wrong])
    assert done.exit_code == 2
    assert "--timeout" in done.output


def test_patience_begins_anew_with_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a wait in which nothing came is over; who waits for ever is never told."""
    at_s = [0.0]
    monkeypatch.setattr("stream.kafka.clients.monotonic_s", lambda: at_s[0])
    kafka = KafkaSettings("h:1", "x", patience_s=10.0)
    patience, ever = Patience(kafka), Patience(KafkaSettings("h:1", "x"))
    at_s[0] = 9.0
    patience.check()
    patience.came()
    at_s[0] = 18.0
    patience.check()
    assert patience.left_s == 1.0
    at_s[0] = 1e9
    ever.check()
    assert ever.left_s is None
    with pytest.raises(Exception, match=r"h:1 does not answer within 10 s .*bootstrap_servers"):
        patience.check()
