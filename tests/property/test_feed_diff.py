"""The changes by a feed's version, against a model of dictionaries."""

from collections.abc import Sequence
from functools import partial

from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.model.entry import Columns
from stream.feeds.diff import REMOVED, difference, without
from stream.lists.snapshot.merge import empty_columns, merged
from tests.support.builders import columns_of

NOW_S, RENEW_S, LIFE_S = 1_800_000_000, 1000, 10_000
FEED = "kh-scam"
NUMBERS = [f"+8553100000{n}" for n in range(6)]
SOURCES = [FEED, f"{FEED}/police"]
now_different = partial(difference, own=FEED, now_s=NOW_S, renew_s=RENEW_S)
Reports = dict[tuple[str, str], tuple[int, int, int, int]]
"""(number, source) -> category, confidence, reported, expires."""

KEYS = st.tuples(st.sampled_from(NUMBERS), st.sampled_from(SOURCES))
TIMES = st.sampled_from([NOW_S, NOW_S - 1, NOW_S - RENEW_S, NOW_S - 5 * RENEW_S])
SOON_S = 3 * RENEW_S // 2
"""A report that is over by then is written with a later end, however little later that is."""
FAR = [0, NOW_S + LIFE_S, NOW_S + LIFE_S - 1, NOW_S + LIFE_S - RENEW_S]
ENDS = st.sampled_from([*FAR, NOW_S + 2, NOW_S + SOON_S + 1, NOW_S + SOON_S + 2])
OVER = st.sampled_from([NOW_S + 1, NOW_S, NOW_S - 1, NOW_S - LIFE_S, NOW_S + SOON_S])
SAID = st.tuples(st.sampled_from([1, 5]), st.sampled_from([50, 100]), TIMES, ENDS)
WAS = st.tuples(st.sampled_from([1, 5]), st.sampled_from([50, 100]), TIMES, ENDS | OVER)
HELD = st.dictionaries(KEYS, WAS, max_size=8)
NEW = st.dictionaries(KEYS, st.none() | SAID, max_size=8)


def columns(reports: dict[tuple[str, str], tuple[int, int, int, int] | None]) -> Columns:
    if not reports:
        return empty_columns()
    rows = [said or (REMOVED, 0, 0, 0) for said in reports.values()]
    names = ("category", "confidence", "reported_at", "expires_at")
    fields: dict[str, Sequence[int]] = dict(zip(names, zip(*rows, strict=True), strict=True))
    fields["source"] = [SOURCES.index(source) for _, source in reports]
    return columns_of([number for number, _ in reports], b"", tuple(SOURCES), **fields)


def reports(held: Columns) -> Reports:
    found = {}
    for row in range(len(held)):
        one = held.entry(row)
        said = (int(one.category), one.confidence, one.reported_at_s, one.expires_at_s)
        found[str(one.number), one.source] = said
    return found


def says_again(old: tuple[int, int, int, int], new: tuple[int, int, int, int]) -> bool:
    """Report whether a report only repeats known facts, a little later."""
    same_time = old[2] == new[2] or (new[2] == NOW_S and old[2] > NOW_S - RENEW_S)
    ends = (old[3], new[3])
    is_near = 0 not in ends and 0 <= new[3] - old[3] < RENEW_S and old[3] > NOW_S + SOON_S
    same_end = old[3] == new[3] or is_near
    return old[:2] == new[:2] and same_time and same_end


OVER_SOON = {(NUMBERS[0], FEED): (1, 50, NOW_S - 1, NOW_S + 1)}
"""A report that is over before anybody looks again, and its renewal."""
LONGER = {(NUMBERS[0], FEED): (1, 50, NOW_S, NOW_S + RENEW_S)}


@given(HELD, NEW, st.booleans())
@example(OVER_SOON, LONGER, True)
@example(OVER_SOON, LONGER, False)
def test_what_is_written_makes_the_list_say_what_the_feed_says(held, new, whole) -> None:
    """After the change the feed's reports are those of the version, or of before and the version.

    Only what differs is written, and the numbers that come and go are counted as they are.
    """
    if whole:
        new = {key: said for key, said in new.items() if said is not None}
    change = now_different(columns(held), columns(new), whole=whole)
    after = reports(merged(without(columns(held), change.retracted), change.written))
    ends = {number for (number, source), said in new.items() if said is None and source == FEED}
    wanted = {} if whole else {key: said for key, said in held.items() if key[0] not in ends}
    for key, said in new.items():
        if said is None:
            wanted.pop(key, None)
        elif key in held and says_again(held[key], said):
            wanted[key] = held[key]
        else:
            wanted[key] = said
    assert after == wanted
    assert not set(reports(change.written)) & {k for k in wanted if wanted[k] == held.get(k)}
    before, now = {number for number, _ in held}, {number for number, _ in wanted}
    assert (change.gained, change.lost) == (len(now - before), len(before - now))
    live = {number for (number, _), said in held.items() if said[3] == 0 or said[3] > NOW_S}
    assert (change.live, change.live_lost) == (len(live), len(live - now))
    assert change.updated == len([k for k in reports(change.written) if k in held])
    if whole:
        assert change.numbers == len(now)


@given(HELD, NEW)
def test_doing_it_again_changes_nothing(held, new) -> None:
    """A process that was killed after the change writes nothing when it repeats it."""
    whole = {key: said for key, said in new.items() if said is not None}
    change = now_different(columns(held), columns(whole), whole=True)
    after = merged(without(columns(held), change.retracted), change.written)
    again = now_different(after, columns(whole), whole=True)
    assert again.changes == 0
