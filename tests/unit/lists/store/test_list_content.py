"""Which generations can still be had: pure, from bases and steps."""

import msgspec
import pytest

from stream.core.model.errors import SnapshotUnreadable, VersionGone
from stream.lists.store.heads import ListHead
from stream.lists.store.list_content import GenerationSpan, Past, stretches_of
from stream.lists.store.past_reader import KeptBase
from stream.lists.store.store_codec import BaseRecord, Step, chain_after


class Story:
    """A list's steps, made as the register makes them, a second apart."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.bases = [KeptBase(0, 1, "1000-0", "1000-0", 0)]
        self.at = 0
        self.step("create")

    def step(self, op: str, payload: bytes = b"", *, jump: int = 1) -> int:
        self.at += jump
        chain = chain_after(self.steps[-1].chain if self.steps else "", self.at, op, payload)
        identity = f"{self.at * 1000}-0"
        self.steps.append(Step(identity, "TH/national", self.at, op, payload, chain))
        return self.at

    def base(self, what: str = "import", *, meanwhile: int = 0, jump: int = 1) -> None:
        reserved = self.step("reserve")
        for _ in range(meanwhile):
            self.step("remove")
        record = msgspec.json.encode(BaseRecord(reserved, 5, "", what))
        published = self.step("base", record, jump=jump)
        ids = (f"{reserved * 1000}-0", f"{published * 1000}-0")
        self.bases.insert(0, KeptBase(reserved, published, *ids, 5))

    def past(self, steps: list[Step] | None = None, bases: list[KeptBase] | None = None) -> Past:
        kept = self.steps if steps is None else steps
        head = ListHead("TH/national", self.at, 0, "", "plain", 0, 1, "a", 0)
        return Past(head, tuple(kept), stretches_of(bases or self.bases, kept, self.at))


@pytest.fixture
def story() -> Story:
    """Create 1, change 2, import 3-4, changes 5-6, import 7 to 9 with a change, change 10."""
    story = Story()
    story.step("remove")
    story.base()
    story.step("remove")
    story.step("remove")
    story.base(meanwhile=1)
    story.step("remove")
    return story


def test_all_is_there(story):
    """With every base and step, every generation is available, each from the base it lay over."""
    past = story.past()
    assert [(s.base.generation, s.first, s.last) for s in past.stretches] == [
        *((7, 9, 10), (3, 4, 8), (0, 1, 3))
    ]
    assert past.said() == "1 to 3, 4 to 8, 9 to 10"
    assert past.holds(5)
    with pytest.raises(VersionGone, match="no generation 11: the newest is 10"):
        past.stretch_of(11)


def test_steps_are_gone(story):
    """Where steps were cut off, a base whose numbers follow each other still gives one."""
    past = story.past(story.steps[8:])
    assert past.said() == "4"
    with pytest.raises(VersionGone, match="these are available: 4 "):
        past.stretch_of(5)
    assert story.past(story.steps[6:]).said() == "4, 9 to 10"


def test_a_step_that_was_altered_ends_what_can_be_had(story):
    """A step that does not follow the one before is not built on."""
    steps = list(story.steps)
    steps[4] = Step(steps[4].id, "TH/national", 5, "remove", b"forged", steps[4].chain)
    assert story.past(steps).said() == "1 to 3, 4, 9 to 10"


def test_a_base_that_was_let_go_of_ends_what_the_older_one_gives(story):
    """An import's base is not in the one before; a rebuild's is the same list, and goes on."""
    assert story.past(bases=[story.bases[0], story.bases[2]]).said() == "1 to 3, 9 to 10"
    again = Story()
    again.step("remove")
    again.base("rebuild")
    again.step("remove")
    assert again.past(bases=again.bases[1:]).said() == "1 to 5"


def test_a_repair_jumps_over_generations():
    """A repair's generation is above one that the register never had: those between are not."""
    story = Story()
    story.base("repair", jump=40)
    past = story.past()
    assert past.said() == "1 to 2, 42"
    with pytest.raises(VersionGone):
        past.stretch_of(20)


def test_moments(story):
    """A moment's generation is the newest of then; what nobody knows any more is said."""
    past = story.past()
    assert past.generation_at(5_999) == 5
    assert past.generation_at(6_000) == 6
    assert past.generation_at(99_000) == 10
    with pytest.raises(VersionGone, match="was not there yet"):
        past.generation_at(999)
    cut = story.past(story.steps[6:])
    with pytest.raises(VersionGone, match="of that time are not kept any more"):
        cut.generation_at(5_500)
    assert story.past([]).said() == "4"


def test_changes_that_can_not_be_read(story):
    """A change that nobody can read is not passed over."""
    past = story.past()
    with pytest.raises(SnapshotUnreadable, match="generation 5"):
        list(past.changes(GenerationSpan(story.bases[1], 4, 6), 6))
