"""Blocklists against a model of plain sets, through any order of changes."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stream.core.filters.blocklists import fresh
from stream.core.filters.overlay import Change
from stream.core.model.entry import Entry
from tests.support.builders import NOW_S, blocklists, entry, fingerprint_of, numbers_of, snapshot

POOL = [f"+4477009001{n:02}" for n in range(12)]
LISTS = {"XA/one": b"", "XB/two": b"", "XC/keyed": bytes(32)}
numbers = st.sampled_from(POOL)
names = st.sampled_from(sorted(LISTS))


class ChangingLists(RuleBasedStateMachine):
    """Whatever is added, removed and rebuilt: exactly what the sets hold matches, always."""

    def __init__(self):
        super().__init__()
        self.model: dict[str, dict[str, Entry]] = {name: {} for name in LISTS}
        self.generation = 1

    @initialize(data=st.data())
    def load(self, data):
        for name, key in LISTS.items():
            for number in data.draw(st.sets(numbers, min_size=1)):
                self.model[name][number] = entry(number, key)
        self.rebuild()

    @rule()
    def rebuild(self):
        """A new snapshot takes the changes in; the overlay is empty again."""
        self.lists = blocklists(
            *(
                fresh(name, key, snapshot(name, list(self.model[name].values()), key), NOW_S)
                for name, key in LISTS.items()
            )
        )

    @rule(name=names, number=numbers, expires_in_s=st.sampled_from([0, -1, 1]))
    def add(self, name, number, expires_in_s):
        expires_at_s = NOW_S + expires_in_s if expires_in_s else 0
        added = entry(number, LISTS[name], expires_at_s=expires_at_s)
        self.model[name][number] = added
        self.change(name, Change(added.fingerprint, (added,)))

    @rule(name=names, number=numbers)
    def remove(self, name, number):
        self.model[name].pop(number, None)
        self.change(name, Change(fingerprint_of(number, LISTS[name]), ()))

    def change(self, name, change):
        self.generation += 1
        self.lists = self.lists.with_changes(name, [change], self.generation, NOW_S)

    @invariant()
    def exactly_what_is_listed_matches(self):
        if not hasattr(self, "lists"):
            return
        matches = self.lists.match(numbers_of(POOL), NOW_S).by_row()
        for row, number in enumerate(POOL):
            expected = [
                index
                for index, name in enumerate(self.lists.names)
                if number in self.model[name] and self.model[name][number].live(NOW_S)
            ]
            assert [match.list for match in matches.get(row, [])] == expected
            assert all(match.confirmed for match in matches.get(row, []))


ChangingLists.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestChangingLists = ChangingLists.TestCase
