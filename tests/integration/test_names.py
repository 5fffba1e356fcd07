"""Names are held to one rule on every way in, and what is there already stays."""

from pathlib import Path
from typing import Any

import pytest

from stream.config.settings import load
from stream.core.model.errors import ConfigInvalid, NameRefused
from stream.lists.store import redis_keys
from stream.lists.store.list_store import ListStore
from tests.support.builders import entry
from tests.support.commands import Operator
from tests.support.lists import BY, ONE, opened

ODD = ("TH/..", "TH/-rf", "kh/scam", "-rf/x")


@pytest.fixture
async def register(redis_url: str) -> Any:
    async with opened(redis_url) as made:
        yield made


async def put(register: ListStore, raw: Any, name: str) -> None:
    """A list as one could be made before there was a rule."""
    assert await register.create(name, "plain", BY, again=True)
    assert raw.exists(redis_keys.head(name))


@pytest.mark.parametrize("name", ODD)
async def test_no_list_is_made_with_an_odd_name(register: ListStore, name: str) -> None:
    """For all who may create it: a command, a feed, a partner's list that is followed."""
    with pytest.raises(NameRefused, match="names no list"):
        await register.create(name, "plain", BY)
    assert not (await register.heads()).lists


async def test_no_list_is_made_that_differs_by_capitals(register: ListStore) -> None:
    """The one that is there is named; itself it is still found, and so are both of two."""
    assert await register.create("KH/scam", "plain", BY)
    with pytest.raises(NameRefused, match="KH/Scam would differ from KH/scam by its capitals"):
        await register.create("KH/Scam", "plain", BY)
    assert not await register.create("KH/scam", "plain", BY)
    assert await register.create("KH/Scam", "plain", BY, again=True)
    assert not await register.create("KH/scam", "plain", BY)
    assert not await register.create("KH/Scam", "plain", BY)


@pytest.mark.parametrize("name", ["TH/..", "kh/scam"])
async def test_an_odd_list_goes_on(register: ListStore, raw: Any, name: str) -> None:
    """From before the rule: its feed finds it there, and its numbers are read and changed."""
    await put(register, raw, name)
    assert not await register.create(name, "plain", BY)
    await register.add(name, [entry(ONE)], BY)
    assert (await register.heads()).lists[name].count == 1
    assert (await register.state(name)).changes


def typed(tmp_path: Path, redis_url: str, *words: str) -> tuple[int, str]:
    config = tmp_path / "x.toml"
    config.write_text(f'redis.url = "{redis_url}"\nexchange.dir = "{tmp_path}/exchange"\n')
    done = Operator(config).invokes(*words)
    return done.code, done.output


@pytest.mark.parametrize("name", ["TH/..", "TH/-rf", "kh/scam"])
def test_commands_refuse_odd_names(tmp_path: Path, redis_url: str, name: str) -> None:
    """Each that makes or follows a list says what is wrong, and ends with 2."""
    root = tmp_path / "root.json"
    root.write_text("{}")
    for words in (
        ("lists", "create", name),
        ("exchange", "add-list", name),
        ("exchange", "follow", "https://kh.example", name, "--root", str(root), "--contact", "x"),
    ):
        code, said = typed(tmp_path, redis_url, *words)
        assert (code, "names no list" in said) == (2, True), (words, said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[policy.lists."TH/.."]\n', "names no list"),
        ('[policy.lists."TH/-rf"]\n', "names no list"),
        ('[circles."../x"]\nkey_env = "K"\n', "is no name for a circle"),
        ('[circles.ASEAN]\nkey_env = "K"\n', "is no name for a circle"),
    ],
)
def test_settings_refuse_what_leads_somewhere(tmp_path: Path, text: str, said: str) -> None:
    """A name in the settings that no list or circle could have is refused with its key."""
    config = tmp_path / "x.toml"
    config.write_text(text)
    with pytest.raises(ConfigInvalid, match=said):
        load([config], {"K": "0" * 64})
