"""The register against a naive model: a dictionary of numbers, whatever the order of commands."""

import asyncio
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from stream.core.model.entry import Category, Entry
from stream.feeds import import_file as ingest
from stream.feeds.import_file import import_file
from stream.feeds.parse import Defaults
from stream.lists.store.heads import By, EditOutcome, Removal, Retraction
from stream.lists.store.list_content import content, entries_of, past_of
from stream.lists.store.list_store import FIRST_ID, ListStore
from stream.lists.store.rewrite import rebuild, rollback
from stream.lists.store.settings import ListStoreSettings
from tests.support.builders import NOW_S, entry
from tests.support.lists import request

BY = By("model")
NUMBERS = [f"+6681234{i:04d}" for i in range(12)]
some_numbers = st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=6)
sources = st.sampled_from(["test", "bank", "police"])


class RegisterModel(RuleBasedStateMachine):
    """Two clients change one list; `model` is what it should hold."""

    url = ""
    folder = Path()
    lists = 0

    def __init__(self) -> None:
        super().__init__()
        # A list of its own for every run: the register keeps those of the runs before.
        type(self).lists += 1
        self.name = f"TH/model{self.lists}"
        self.runner = asyncio.Runner()
        self.clients = [
            self.runner.run(ListStore.connect(ListStoreSettings(self.url))) for _ in range(2)
        ]
        self.turn = 0
        self.model: dict[tuple[str, str], Entry] = {}
        self.generation = 1
        self.past: dict[int, dict[tuple[str, str], Entry]] = {}
        self.run(self.client.create(self.name, "plain", BY))

    def run(self, work):
        return self.runner.run(work)

    @property
    def client(self) -> ListStore:
        self.turn += 1
        return self.clients[self.turn % 2]

    @property
    def listed(self) -> set[str]:
        return {number for number, _ in self.model}

    @rule(
        numbers=some_numbers,
        confidence=st.integers(0, 100),
        category=st.sampled_from(Category),
        source=sources,
    )
    def add(self, numbers, confidence, category, source):
        entries = [
            entry(n, confidence=confidence, category=category, source=source) for n in numbers
        ]
        changed = self.run(self.client.add(self.name, entries, BY))
        for one, outcome in zip(entries, changed.outcomes, strict=True):
            wanted = EditOutcome.UPDATED if one.number in self.listed else EditOutcome.ADDED
            assert outcome is wanted
            self.model[one.number or "", source] = one
        self.generation += len(numbers)
        assert changed.generation == self.generation

    @rule(numbers=some_numbers)
    def remove(self, numbers):
        removals = [Removal(entry(n).fingerprint, n) for n in numbers]
        changed = self.run(self.client.remove(self.name, removals, BY))
        for number, outcome in zip(numbers, changed.outcomes, strict=True):
            held = number in self.listed
            assert outcome is (EditOutcome.REMOVED if held else EditOutcome.ABSENT)
            self.model = {key: one for key, one in self.model.items() if key[0] != number}
            self.generation += held

    @rule(numbers=some_numbers, source=sources)
    def retract(self, numbers, source):
        retractions = [Retraction(entry(n).fingerprint, n, source) for n in numbers]
        changed = self.run(self.client.retract(self.name, retractions, BY))
        for number, outcome in zip(numbers, changed.outcomes, strict=True):
            held = self.model.pop((number, source), None)
            left = EditOutcome.UPDATED if number in self.listed else EditOutcome.REMOVED
            assert outcome is (EditOutcome.ABSENT if held is None else left)
            self.generation += held is not None

    @rule(numbers=some_numbers, confidence=st.integers(0, 100), replace=st.booleans())
    def load(self, numbers, confidence, replace):
        path = self.folder / "numbers.txt"
        path.write_text("\n".join(numbers))
        defaults = Defaults("test", NOW_S - 60, None, Category.CALL_CENTRE, 0, confidence)
        asked = request(path, name=self.name, defaults=defaults, replace=replace, by=BY)
        report = self.run(import_file(self.client, asked, NOW_S))
        before = self.listed
        if replace:
            self.model.clear()
        self.model |= {(n, "test"): entry(n, confidence=confidence) for n in numbers}
        assert report.updated == len(before & set(numbers))
        assert report.added == len(set(numbers) - before)
        self.generation += 2

    @rule()
    def rebuild(self):
        self.run(rebuild(self.client, self.name, b"", BY, NOW_S))
        self.generation += 2

    @rule(data=st.data())
    def rollback(self, data):
        past = self.run(past_of(self.client, self.name))
        kept = [generation for generation in self.past if past.holds(generation)]
        generation = data.draw(st.sampled_from(kept or [self.generation]))
        self.run(rollback(self.client, self.name, generation, b"", BY, NOW_S))
        self.model = dict(self.past.get(generation, self.model))
        self.generation += 2

    @rule()
    def sweep(self):
        self.run(self.client.sweep(self.name))

    @invariant()
    def the_same(self):
        """The register holds what the model holds, says how many, and its chain is whole."""
        head, columns = self.run(entries_of(self.client, self.name, b""))
        entries = [columns.entry(row) for row in range(len(columns))]
        assert {(e.number, e.source): e for e in entries} == self.model
        assert len(entries) == len(self.model)
        assert (head.count, head.generation) == (len(self.listed), self.generation)
        self.past[self.generation] = dict(self.model)

    def were_the_same(self):
        """Each generation that is still kept is what the model was then."""
        past = self.run(past_of(self.client, self.name))
        assert past.holds(self.generation)
        for generation, model in self.past.items():
            if past.holds(generation):
                columns = self.run(content(self.client, past, generation, b""))
                entries = [columns.entry(row) for row in range(len(columns))]
                assert {(e.number, e.source): e for e in entries} == model

    def teardown(self):
        self.were_the_same()
        chain = ""
        for step in self.run(self.client.follow(FIRST_ID, 0)).steps:
            if step.name == self.name:
                assert step.follows(chain)
                chain = step.chain
        for client in self.clients:
            self.run(client.close())
        self.runner.close()


def test_the_register_is_what_the_model_is(redis_url, tmp_path, monkeypatch):
    """Whatever two clients do in whatever order, list, count, generation and chain are right."""
    monkeypatch.setattr(ingest, "CHANGES_MAX", 0)  # every import makes a new base
    monkeypatch.setattr(RegisterModel, "url", redis_url)
    monkeypatch.setattr(RegisterModel, "folder", tmp_path)
    run_state_machine_as_test(
        RegisterModel,
        settings=settings(
            max_examples=8,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
