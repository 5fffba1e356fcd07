"""The product's tree keeps the house's rules; ratchets.toml lists what does not yet."""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tidy import house
from tests.tidy.test_tidy import ENTRIES, ROOT, sources

RATCHETS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("ratchets.toml").read_text())
PRODUCT = {path: text for path, text in sources().items() if path.startswith("stream/")}
MODULES = {house.module_of(path): text for path, text in PRODUCT.items()}
# Called in the tests: each process of a run imports this file, and parsing the product takes long.
RULES: dict[str, Callable[[], Iterator[str]]] = {
    "crowded_folders": lambda: house.crowded_folders(PRODUCT),
    "fragments": lambda: house.fragments(MODULES, ENTRIES),
    "names_twice": lambda: house.names_twice(MODULES),
    "basenames_twice": lambda: house.basenames_twice(PRODUCT),
    "wide_imports": lambda: house.wide_imports(MODULES),
}


@pytest.mark.parametrize("rule", RULES)
def test_nothing_new_breaks_a_rule_of_the_house(rule: str) -> None:
    """Only what is listed passes a limit, and what is right again leaves the list."""
    listed, found = set(RATCHETS[rule]), set(RULES[rule]())
    assert found - listed == set(), "new: see tests/tidy/house.py for the rule"
    assert listed - found == set(), "right again: take it out of ratchets.toml"


def test_old_words_only_go() -> None:
    """No old word stands on more lines of the product than before."""
    pages = [path.read_text() for path in (ROOT / "stream").rglob("*.html")]
    counts = house.old_words([*PRODUCT.values(), *pages])
    assert counts == RATCHETS["old_words"], "fewer: lower ratchets.toml; more: see language.md"


def lines(paths: list[str]) -> int:
    """Return the lines of these files together, without comments: reasons may be added."""
    texts = (sources()[path].splitlines() for path in paths)
    return sum(not line.lstrip().startswith("#") for text in texts for line in text)


def test_the_house_does_not_grow() -> None:
    """The product without its lab, and the tests, have at most the lines that they had."""
    product = [path for path in PRODUCT if not path.startswith("stream/lab/")]
    assert lines(product) <= RATCHETS["lines"]["stream"]
    assert (
        lines([path for path in sources() if path.startswith("tests/")])
        <= (RATCHETS["lines"]["tests"])
    )


LONG = "x = 1\n" * 60
HELD = {"stream": "", "stream.a": "import stream.b\n" + LONG, "stream.b": LONG}


def test_a_fragment_is_caught() -> None:
    """A short module with one importer is found; a long one, a face and an entry are not."""
    assert list(house.fragments(HELD, [])) == []
    short = HELD | {"stream.b": "x = 1\n"}
    assert list(house.fragments(short, [])) == ["stream.b"]
    assert list(house.fragments(short, ["stream.b"])) == []
    used_twice = short | {"stream.c": "from stream import b\n" + LONG}
    assert list(house.fragments(used_twice, [])) == []


def test_a_crowd_is_caught() -> None:
    """A folder of 21 files is found; 24 dialects are not, 25 are."""
    assert list(house.crowded_folders(f"stream/a/{n}.py" for n in range(20))) == []
    assert list(house.crowded_folders(f"stream/a/{n}.py" for n in range(21))) == ["stream/a"]
    assert list(house.crowded_folders(f"stream/dialects/{n}.py" for n in range(24))) == []
    assert list(house.crowded_folders(f"stream/dialects/{n}.py" for n in range(25))) != []


def test_a_name_that_stands_twice_is_caught() -> None:
    """A class and a file of one name are found; private classes and faces are not."""
    modules = {"a": "class X: ...\nclass _Y: ...\n", "b": "class X: ...\nclass _Y: ...\n"}
    assert list(house.names_twice(modules)) == ["X"]
    paths = ["a/x.py", "b/x.py", "a/__init__.py", "b/__init__.py"]
    assert list(house.basenames_twice(paths)) == ["x.py"]


def test_a_module_that_imports_the_house_is_caught() -> None:
    """16 modules are too many for a room and not for a service; names of one module count once."""
    many = {f"stream.m{n}": "" for n in range(16)}
    source = "".join(f"import stream.m{n}\n" for n in range(16))
    assert list(house.wide_imports(many | {"stream.a": source})) == ["stream.a"]
    assert list(house.wide_imports(many | {"stream.services.a": source})) == []
    assert house.imports({"a": "from b import x, y\n", "b": ""}) == {"a": {"b"}, "b": set()}


def test_an_old_word_is_counted() -> None:
    """Lines are counted, whatever the case; longer words that hold the word are not."""
    assert house.old_words(["Whoever asks.\nwhoever\n", "planes, registered\n"]) == {"whoever": 2}
    assert house.old_words(['    """What it is."""\n']) == {"What ...": 1}
