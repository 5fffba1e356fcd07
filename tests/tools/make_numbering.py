"""Write `stream/core/numbers/numbering.json` from the numbering plans in `phonenumbers`.

    python -m tests.tools.make_numbering

Run it after an upgrade of phonenumbers; tests/unit/core/numbers/test_numbering.py says when it is
due. `stream.core.numbers.numbering` says what stands in each table.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import phonenumbers
from phonenumbers import PhoneMetadata
from phonenumbers.shortnumberinfo import SUPPORTED_SHORT_REGIONS

# There is no public parser of patterns; mypy knows this one on some runs only.
parser: Any = import_module("re._parser")
E164_DIGITS_MAX = 15
HEAD_DIGITS = 6
HEADS_MAX = 40

DEPTH_MAX = 8
TABLES: Final = Path(__file__).parents[2] / "stream/core/numbers/numbering.json"

BLOCK_COUNTRIES = ("BN KH ID LA MY MM PH SG TH TL VN", "CN JP KR IN US")
"""ASEAN, and the countries that it is called from most. With US come all of +1."""
BLOCK_DEPTH_MAX = 4
"""Digits of a national number that are looked at; more would be a longer table for few blocks."""
AREA_DIGITS = 3
"""The same for +1, whose regions are given out by area code."""
TYPES = (
    *("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost"),
    *("voip", "personal_number", "pager", "uan", "voicemail"),
)

Tokens = Sequence[tuple[Any, Any]]


def heads(tokens: Tokens, depth: int) -> set[str]:
    """Return the beginnings of a match, digits cut to `depth`; shorter ones are whole matches."""
    found = {""}
    for op, argument in tokens:
        nexts = set()
        for head in found:
            if len(head) >= depth:
                nexts.add(head)
                continue
            nexts |= {head + more for more in token_heads(op, argument, depth - len(head))}
        found = nexts
    return found


def token_heads(op: Any, argument: Any, depth: int) -> set[str]:
    """`heads` of one token of a parsed expression; an unknown kind of token is an error."""
    if op is parser.LITERAL:
        return {chr(argument)}
    if op is parser.AT:
        return {""}
    if op is parser.IN:
        return {digit for digit in "0123456789" if in_class(digit, argument)}
    if op is parser.SUBPATTERN:
        return heads(argument[3], depth)
    if op is parser.BRANCH:
        return set().union(*(heads(branch, depth) for branch in argument[1]))
    if op is parser.MAX_REPEAT:
        least, most, inner = argument
        found: set[str] = set()
        for times in range(least, min(int(most), least + depth) + 1):
            found |= heads(list(inner) * times, depth)
        return found
    raise ValueError(f"no rule for {op} in a national prefix expression")


def in_class(digit: str, items: Iterable[tuple[Any, Any]]) -> bool:
    """Report whether a character class holds the digit."""
    for op, argument in items:
        if op is parser.LITERAL and chr(argument) == digit:
            return True
        if op is parser.RANGE and argument[0] <= ord(digit) <= argument[1]:
            return True
        if op is parser.CATEGORY and argument is parser.CATEGORY_DIGIT:
            return True
    return False


def shortest(prefixes: set[str]) -> tuple[str, ...]:
    """The same set of digit strings, as few and as short prefixes as possible."""
    longest = max(map(len, prefixes), default=0)
    for size in range(longest, 1, -1):
        for parent in {prefix[:-1] for prefix in prefixes if len(prefix) == size}:
            children = {parent + digit for digit in "0123456789"}
            if children <= prefixes:
                prefixes = (prefixes - children) | {parent}
    whole = {p for p in prefixes if not any(p[:size] in prefixes for size in range(1, len(p)))}
    return tuple(sorted(whole))


def trunk_prefixes(pattern: str | None, depth: int) -> tuple[str, ...]:
    """Return the beginnings of national numbers that may lose their first digits when read."""
    if not pattern:
        return ()
    tokens = list(parser.parse(pattern))
    for size in range(depth, 0, -1):
        prefixes = shortest(heads(tokens, size) - {""})
        if len(prefixes) <= HEADS_MAX:
            return prefixes
    raise ValueError(f"too many beginnings: {pattern}")


def plans() -> Iterator[list[Any]]:
    """Each country code with the lengths and the trunk prefixes of its numbers."""
    for code in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE):
        region = phonenumbers.region_code_for_country_code(code)
        plan: Any = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        before = len(str(code))
        lengths = [before + length for length in plan.general_desc.possible_length]
        pattern = re.sub(r"\s", "", plan.national_prefix_for_parsing or "")
        prefixes = trunk_prefixes(pattern, HEAD_DIGITS - before)
        yield [code, [length for length in lengths if length <= E164_DIGITS_MAX], prefixes]


Shapes = set[tuple[str, int]]
"""Digit strings by their first digits, cut to a depth, and their length."""


def shapes(tokens: Tokens, depth: int) -> Shapes:
    """Return the possible whole matches of a parsed expression of digits, of at most 15 digits."""
    found: Shapes = {("", 0)}
    for op, argument in tokens:
        left = depth - min(len(head) for head, _ in found)
        found = joined(found, token_shapes(op, argument, left), depth)
    return found


def joined(first: Shapes, then: Shapes, depth: int) -> Shapes:
    """Each of `first` with each of `then` behind it."""
    # Behind a head that is whole already only the lengths of what follows matter.
    cut = [{(more[:left], added) for more, added in then} for left in range(depth + 1)]
    return {
        (head + more, size + added)
        for head, size in first
        for more, added in cut[depth - len(head)]
        if size + added <= E164_DIGITS_MAX
    }


def token_shapes(op: Any, argument: Any, depth: int) -> Shapes:
    """`shapes` of one token; an unknown kind of token is an error."""
    if op is parser.SUBPATTERN:
        return shapes(argument[3], depth)
    if op is parser.BRANCH:
        return set().union(*(shapes(branch, depth) for branch in argument[1]))
    if op is parser.MAX_REPEAT:
        least, most, inner = argument
        once, so_far = shapes(inner, depth), {("", 0)}
        found: Shapes = set()
        for times in range(min(int(most), E164_DIGITS_MAX) + 1):
            found |= so_far if times >= least else set()
            so_far = joined(so_far, once, depth)
        return found
    return {(head[:depth], len(head)) for head in token_heads(op, argument, 1)}


def assigned(region: str, depth: int) -> Shapes:
    """The national numbers that a region has given out, by their first `depth` digits."""
    plan: Any = PhoneMetadata.metadata_for_region(region)
    general = shapes_of(plan.general_desc, plan.general_desc, depth)
    descs = [desc for name in TYPES if (desc := getattr(plan, name)) is not None]
    return general & set().union(*(shapes_of(desc, plan.general_desc, depth) for desc in descs))


def shapes_of(desc: Any, general: Any, depth: int) -> Shapes:
    """The numbers of one description; lengths that it does not say are those of `general`."""
    if not desc.national_number_pattern:
        return set()
    sizes = desc.possible_length or general.possible_length
    found = pattern_shapes(desc.national_number_pattern, depth)
    return {one for one in found if one[1] in sizes}


@cache
def pattern_shapes(pattern: str, depth: int) -> Shapes:
    """`shapes` of an expression; regions that share a country code share many."""
    return shapes(list(parser.parse(re.sub(r"\s", "", pattern))), depth)


def blocks() -> Iterator[list[Any]]:
    """Each country code and length with the blocks that hold assigned numbers."""
    countries = " ".join(BLOCK_COUNTRIES).split()
    for code in sorted(map(phonenumbers.country_code_for_region, countries)):
        before = str(code)
        depth = AREA_DIGITS if code == 1 else min(HEAD_DIGITS - len(before), BLOCK_DEPTH_MAX)
        regions = phonenumbers.region_codes_for_country_code(code)
        found = set().union(*(assigned(region, depth) for region in regions))
        for size in sorted({size for _, size in found if size + len(before) <= E164_DIGITS_MAX}):
            first = shortest({head for head, length in found if length == size})
            yield [code, size + len(before), in_a_row(first)]


def in_a_row(prefixes: Iterable[str]) -> list[str]:
    """Sorted digit strings; of those in a row the first and the last, `2012-2019`."""
    rows: list[list[str]] = []
    for prefix in sorted(prefixes, key=lambda prefix: (len(prefix), prefix)):
        if rows and len(rows[-1][1]) == len(prefix) and int(prefix) == int(rows[-1][1]) + 1:
            rows[-1][1] = prefix
        else:
            rows.append([prefix, prefix])
    return [first if first == last else f"{first}-{last}" for first, last in rows]


def emergency() -> Iterator[tuple[str, list[str]]]:
    """Each region with the numbers that are dialled for help there."""
    for region in sorted(SUPPORTED_SHORT_REGIONS):
        plan: Any = PhoneMetadata.short_metadata_for_region(region)
        pattern = plan.emergency and plan.emergency.national_number_pattern
        if pattern:
            yield region, sorted(heads(list(parser.parse(pattern)), DEPTH_MAX))


def written() -> str:
    """The text of the file: a row on each line, so that an upgrade shows what it changed."""
    source = f"phonenumbers {phonenumbers.__version__}, by tests/tools/make_numbering.py"
    regions = (f"{json.dumps(region)}: {json.dumps(numbers)}" for region, numbers in emergency())
    tables = (
        f'"source": {json.dumps(source)}',
        f'"plans": {_lines("[]", map(json.dumps, plans()))}',
        f'"blocks": {_lines("[]", map(json.dumps, blocks()))}',
        f'"emergency": {_lines("{}", regions)}',
    )
    return _lines("{}", tables) + "\n"


def _lines(brackets: str, rows: Iterable[str]) -> str:
    return brackets[0] + "\n" + ",\n".join(rows) + "\n" + brackets[1]


if __name__ == "__main__":
    TABLES.write_text(written(), encoding="utf-8")
