"""Numbers, prefixes and their expiry on changing lists, against a model of plain dictionaries."""

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stream.core.filters.blocklists import fresh
from stream.core.filters.overlay import Change
from stream.core.model.entry import Category, Entry
from stream.core.numbers.prefix_entries import PrefixRules, cut, is_prefix, read_entries
from tests.support.builders import (
    NOW_S,
    blocklists,
    entry,
    fingerprint_of,
    live,
    numbers_of,
    snapshot,
)

NUMBERS = [f"+44770090{n:04}" for n in (1200, 1201, 1210, 1234, 1299, 1300, 9999)] + [
    "+66212345678"
]
PREFIXES = ["+447700*", "+4477009*", "+44770090*", "+447700901*", "+4477009012*", "+44770090123*"]
TEXTS = [*NUMBERS, *PREFIXES, "+447700901234*", "+6621*"]
LISTS = {"XA/one": b"", "XB/two": b"", "XC/keyed": bytes(32)}
names = st.sampled_from(sorted(LISTS))
reports = st.lists(
    st.tuples(
        st.sampled_from(["police", "bank"]),
        st.sampled_from([Category.PARCEL, Category.LEGITIMATE]),
        st.sampled_from([0, NOW_S - 1, NOW_S, NOW_S + 1]),
        st.integers(1, 100),
    ),
    max_size=2,
    unique_by=lambda report: report[0],
)

Model = dict[str, tuple[Entry, ...]]


def said(model: Model, number: str) -> tuple[int, int | None] | None:
    """By how many digits of a prefix a list speaks, and how surely where one report says it."""
    prefixes = [f"{number[:end]}*" for end in range(len(number), 1, -1)]
    for text in [number, *prefixes]:
        held = [report for report in model.get(text, ()) if report.live(NOW_S)]
        if held:
            if all(report.category is Category.LEGITIMATE for report in held):
                return None
            sure = held[0].confidence if len(held) == 1 else None
            return (len(text) - 2 if is_prefix(text) else 0), sure
    return None


class ChangingLists(RuleBasedStateMachine):
    """Whatever is reported, taken off and rebuilt: a list's longest live word is what counts."""

    def __init__(self):
        super().__init__()
        self.model: dict[str, Model] = {name: {} for name in LISTS}
        self.generation = 1

    @initialize(data=st.data())
    def load(self, data):
        for name, key in LISTS.items():
            for text in data.draw(st.sets(st.sampled_from(TEXTS), min_size=1)):
                self.model[name][text] = self.entries(text, key, data.draw(reports))
        self.rebuild()

    def entries(self, text, key, told):
        return tuple(
            entry(text, key, source=who, category=kind, expires_at_s=until, confidence=sure)
            for who, kind, until, sure in sorted(told)
        )

    @rule()
    def rebuild(self):
        """A new snapshot takes the changes in; the overlay is empty again."""
        lists = []
        for name, key in LISTS.items():
            held = [report for reports in self.model[name].values() for report in reports]
            lists.append(fresh(name, key, snapshot(name, held, key), NOW_S))
        self.lists = blocklists(*lists)

    @rule(name=names, text=st.sampled_from(TEXTS), told=reports)
    def report(self, name, text, told):
        """New reports of a number or prefix take the place of all that there were; none: off."""
        held = self.entries(text, LISTS[name], told)
        self.model[name][text] = held
        self.generation += 1
        change = Change(fingerprint_of(text, LISTS[name]), held)
        self.lists = self.lists.with_changes(name, [change], self.generation, NOW_S)

    @invariant()
    def the_longest_live_word_counts(self):
        if not hasattr(self, "lists"):
            return
        matches = self.lists.match(numbers_of(NUMBERS), NOW_S).by_row()
        for row, number in enumerate(NUMBERS):
            told = [said(self.model[name], number) for name in self.lists.names]
            found = {match.list: match for match in matches.get(row, [])}
            assert sorted(found) == [index for index, one in enumerate(told) if one is not None]
            for index, match in found.items():
                digits, sure = told[index] or (0, None)
                assert match.confirmed
                assert match.prefix == digits
                assert sure is None or match.confidence == sure


ChangingLists.TestCase.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)
TestChangingLists = ChangingLists.TestCase

tails = st.integers(0, 9999)


@settings(max_examples=30)
@given(st.lists(st.tuples(tails, tails), min_size=1, max_size=3), st.lists(tails, min_size=1))
def test_ranges_hold_what_they_say(ranges, asked):
    """Overlapping ranges, cut into entries and listed: just what lies in one of them matches."""
    ends = [tuple(sorted(pair)) for pair in ranges]
    texts = {text for low, high in ends for text in cut(f"+85523{low:06}", f"+85523{high:06}")}
    lists = blocklists(live("KH/scam", *sorted(texts)))
    near = [end + step for pair in ends for end in pair for step in (-1, 0, 1)]
    numbers = [number for number in {*asked, *near} if 0 <= number <= 9999]
    found = lists.match(numbers_of([f"+85523{number:06}" for number in numbers]), NOW_S)
    assert set(found.rows.tolist()) == {
        row
        for row, number in enumerate(numbers)
        if any(low <= number <= high for low, high in ends)
    }


def test_every_entry_of_a_range_is_one_that_can_be_listed():
    """The pieces of a range are read again as the range."""
    rules = PrefixRules(7, {})
    entries = read_entries("+85523900017-+85523912345", None, rules)
    assert isinstance(entries, tuple)
    prefixes = [text for text in entries if is_prefix(text)]
    assert prefixes
    assert [read_entries(text, None, rules) for text in prefixes] == [(text,) for text in prefixes]
