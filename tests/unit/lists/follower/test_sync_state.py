"""Positions of lists, and what a step or a head changes in them."""

from stream.lists.follower.list_events import EventKind
from stream.lists.follower.sync_state import ALLOWLIST, ListPosition, SyncState
from stream.lists.store.store_codec import Op, Step, chain_after

NAME = "TH/national"


def chain(upto: int) -> list[Step]:
    """Steps 1 to `upto` of a list, chained."""
    steps, last = [], ""
    for generation in range(1, upto + 1):
        last = chain_after(last, generation, Op.ADD, b"{}")
        steps.append(Step(f"{generation}-0", NAME, generation, Op.ADD, b"{}", last))
    return steps


def at(generation: int) -> ListPosition:
    return ListPosition(generation, chain(generation)[-1].chain)


def trusted(generation: int) -> SyncState:
    marks = SyncState()
    marks.known(NAME, at(generation))
    return marks


def kinds(found) -> list[EventKind]:
    return [kind for kind, _ in found.kinds]


def compared(marks: SyncState, head: ListPosition | None, *, all_stale: bool = False):
    """The events of a comparison of all heads; None: the list store does not name the list."""
    heads = {} if head is None else {NAME: head}
    found = marks.compare(heads, marks.copy(), all_stale=all_stale)
    return kinds(found[NAME]) if found else []


def test_steps_in_order_are_taken_once():
    """Steps that follow each other are fresh; the same ones again are not."""
    marks = trusted(1)
    assert [s.generation for s in marks.take(NAME, chain(4)).fresh] == [2, 3, 4]
    assert not marks.take(NAME, chain(4)).fresh
    assert not marks.stale


def test_a_gap_is_found():
    """A step that is not the next one has the list read again, and still counts at once."""
    marks = trusted(1)
    found = marks.take(NAME, chain(4)[2:])
    assert kinds(found) == [EventKind.GAP]
    assert len(found.fresh) == 2
    assert marks.begin() == {NAME}


def test_a_chain_that_differs_is_found():
    """An altered step has the list read again."""
    marks = trusted(1)
    step = chain(2)[1]
    altered = Step(step.id, NAME, 2, Op.ADD, b"{ }", step.chain)
    assert kinds(marks.take(NAME, [altered])) == [EventKind.CHECKSUM]
    assert marks.stale == {NAME}


def test_a_new_list_is_to_be_read():
    """A step of a list that nobody knows makes it one to read."""
    marks = SyncState()
    marks.take(NAME, chain(1))
    assert marks.begin() == {NAME}


def test_a_generation_that_went_back_is_lost_until_passed():
    """A list store that knows less changes nothing here; once it passes us, the list is read."""
    marks = trusted(5)
    assert compared(marks, at(3)) == [EventKind.REGISTER_LOST]
    assert marks.lost == {NAME}
    assert not compared(marks, at(3), all_stale=True)
    assert not marks.begin()
    compared(marks, at(6))
    assert marks.lost == set()
    assert marks.begin() == {NAME}


def test_a_base_that_was_not_read_is_not_ours_to_lose():
    """A fail-over lost it before it was read: the list store's list is read, and not kept off."""
    marks = trusted(3)
    last = at(3).chain
    base = Step("4-0", NAME, 4, Op.BASE, b"{}", chain_after(last, 4, Op.BASE, b"{}"))
    marks.take(NAME, [base])
    assert marks.begin() == {NAME}
    marks.break_off()
    assert not compared(marks, at(3))
    assert not marks.lost
    assert marks.begin() == {NAME}


def test_a_list_that_is_gone_is_lost():
    """A list that the list store does not name any more stays enforced."""
    assert compared(trusted(5), None) == [EventKind.REGISTER_LOST]


def test_heads_tell_what_steps_did_not():
    """A head ahead of us is a gap, another chain at the same generation a checksum."""
    assert compared(trusted(2), at(3)) == [EventKind.GAP]
    assert compared(trusted(2), ListPosition(2, "other")) == [EventKind.CHECKSUM]


def test_steps_taken_after_the_heads_were_asked_are_no_loss():
    """Heads are older than the steps that came while they were on their way."""
    marks = trusted(2)
    before = marks.copy()
    marks.take(NAME, chain(4))
    assert not marks.compare({NAME: at(3)}, before, all_stale=False)


def test_a_failed_reading_is_tried_at_the_next_comparison():
    """A list that could not be read is not given up, and not tried without a pause."""
    marks = trusted(2)
    marks.stale.add(NAME)
    marks.begin()
    marks.fail(NAME)
    assert not marks.begin()
    compared(marks, at(2))
    assert marks.begin() == {NAME}


def test_any_step_of_the_allowlist_has_it_read():
    """The allowlist is small: it is read whole at every change."""
    marks = SyncState()
    marks.known(ALLOWLIST, ListPosition(0, ""))
    payload = b"{}"
    step = Step("1-0", "", 1, Op.ALLOW, payload, chain_after("", 1, Op.ALLOW, payload))
    assert not marks.take(ALLOWLIST, [step]).kinds
    assert marks.begin() == {ALLOWLIST}


def test_nothing_is_taken_from_a_foreign_list_store():
    """Steps of another list store than the one that the lists came from do not count."""
    marks = trusted(1)
    marks.foreign = True
    assert not marks.take(NAME, chain(3)).fresh
    assert not marks.begin()
