"""Every regular expression of the product takes linear time, whatever text a stranger sends."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from phonenumbers import PhoneMetadata

from stream.calls.dialects.linear_patterns import cutter
from tests.growth.attacks import attacks
from tests.growth.found import Use, uses
from tests.growth.measured import grows, too_slow

ROOT = Path(__file__).parents[2]

IN_TABLES: Mapping[str, frozenset[str]] = {
    # CsvForm.sure: csv_form.py calls `match` of it.
    "stream/calls/dialects/asterisk.py::": frozenset({"match"}),
    "stream/calls/dialects/freeswitch.py::": frozenset({"match"}),
}
"""The way in which a table's expressions are applied, where `search` is wrong."""


def _of_regions() -> tuple[str, ...]:
    held = [PhoneMetadata.metadata_for_region(region, None) for region in ("GB", "TH", "US", "DE")]
    kinds = [one.general_desc for one in held if one] + [one.mobile for one in held if one]
    texts = [kind.national_number_pattern for kind in kinds if kind]
    return tuple(
        text for text in (*texts, *(one.international_prefix for one in held if one)) if text
    )


MADE: Mapping[str, tuple[str, ...]] = {
    # An operator's; `cutter` takes only what its engine applies in linear time, see below.
    "stream/calls/dialects/linear_patterns.py::cutter": (r"^(?:sip:)?([^@;]+)", r"^([a-z]+)-"),
    # Of phonenumbers' metadata; and no text is longer than LENGTH_MAX.
    "stream/core/numbers/national.py::national_reader": _of_regions(),
    "stream/core/numbers/national.py::_matcher": _of_regions(),
}
"""Expressions that are made while the program runs: examples of them."""


@cache
def found() -> list[Use]:
    """All expressions of the product."""
    paths = sorted((ROOT / "stream").rglob("*.py"))
    return list(uses({path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}))


def test_every_expression_takes_linear_time() -> None:
    """No text of 64 KB makes an expression of the product take more than three times the half's."""
    slow = []
    for use in found():
        methods = IN_TABLES.get(use.place, use.methods)
        if use.pattern is not None and (wrong := too_slow(use.pattern, methods)):
            slow.append(f"{use.path}:{use.line}: {wrong}")
    assert not slow


def test_every_expression_that_is_made_has_examples() -> None:
    """MADE names exactly the expressions that are made of what a function is given."""
    made = {use.place: use.methods for use in found() if use.pattern is None}
    assert made.keys() == MADE.keys()
    for place, texts in MADE.items():
        assert texts
        for text in texts:
            assert not (wrong := too_slow(re.compile(text), made[place])), f"{place}: {wrong}"


def test_every_table_is_still_there() -> None:
    """An entry of IN_TABLES names expressions that exist."""
    assert IN_TABLES.keys() <= {use.place for use in found()}


@pytest.mark.parametrize(
    ("text", "method"),
    [
        (r"\A(?:\s+|<\?xml[^>]*>)*<html", "match"),  # exponential: how leading blanks stopped feeds
        (r"(?:a|aa)+b", "match"),
        (r"(\w+\.?)+@", "match"),
        (r"\s+$", "search"),
        (r"[\s'=]*\+?[\d\s]{7,20}\s*\Z", "match"),
        (r'"(?:[^"\\]|\\.)*"', "sub"),
        (r"(?<=://)[^/\s@]*:[^/\s@]*(?=@)", "search"),
    ],
)
def test_a_planted_expression_is_caught(text: str, method: str, monkeypatch) -> None:
    """Exponential and quadratic ones fail, also where they never end."""
    monkeypatch.setattr("tests.growth.measured.GUARD_S", 1.0)
    assert too_slow(re.compile(text), frozenset({method}))


def test_a_new_expression_is_found() -> None:
    """Compiled, applied at once, in a table, in a tuple of names, or made of an argument."""
    source = (
        "import re\n"
        "_A = re.compile('a')\n"
        "_B, _C = re.compile('b'), re.compile('c')\n"
        "T = {'d': re.compile('d')}\n"
        "def f(x):\n"
        "    return _A.fullmatch(x), _C.sub('', x), re.search('e' + 'f', x), re.compile(x)\n"
    )
    path = "stream/ops/schema/durations.py"  # any module: expressions are evaluated in it
    by_text = {
        use.pattern.pattern if use.pattern else None: (use.place, use.methods)
        for use in uses({path: source})
    }
    anywhere = frozenset({"search", "finditer"})
    assert by_text == {
        "a": (f"{path}::", frozenset({"fullmatch"})),
        "b": (f"{path}::", anywhere),
        "c": (f"{path}::", frozenset({"sub"})),
        "d": (f"{path}::", anywhere),
        "ef": (f"{path}::f", frozenset({"search"})),
        None: (f"{path}::f", anywhere),
    }


PATTERNS = (
    r"^(?:sip:)?([^@;]+)",
    r"^(?:\+|00)?(\d+)(?:@.*)?$",
    r"^(\d+)-(\d+)-(\d+)$",
    r"(\w+\.?)+@",
    r"^(?:a|aa)+$",
    r"(a*)*b",
    r".*<sip:(\+?\d+)@.*>",
    r"(?:^|:)\+?(\d{7,15})",
    r"\s+$",
    r"^([^@]*?)@",
    r"^(\s*\w*\s*\w*\s*)@",
)


@pytest.mark.parametrize("text", PATTERNS)
def test_a_mapping_s_pattern_takes_linear_time(text: str) -> None:
    """Whatever an operator writes, a crafted number cannot stop a worker."""
    assert grows(cutter(text), attacks(re.compile(text)), is_bytes=False) is None
