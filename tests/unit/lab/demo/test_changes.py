import pytest

from stream.lab.demo.changes import GRACE_MS, Probe

BEGUN, COMMITTED = 10_000.0, 10_002.0


def change(kind, *, blocked, calls=range(5_000, 15_000, 5)):
    """A change with one call every 5 ms, blocked where `blocked(at_ms)` says so."""
    made = Probe(kind, "+959250000000", "MM/scam", BEGUN, COMMITTED)
    for at_ms in calls:
        made.came_in(f"{kind}-{at_ms}", at_ms)
        if blocked(at_ms):
            made.decided(f"{kind}-{at_ms}", "block", at_ms + 3)
    return made


def test_an_addition_is_enforced_from_the_first_call_that_is_blocked_for_good():
    """Blocked from 30 ms after the command on: 30 ms, nothing missed, nothing falsely blocked."""
    made = change("add", blocked=lambda at_ms: at_ms >= BEGUN + 30)
    assert made.enforced_ms() == 30
    assert (made.missed(), made.false_blocks()) == (0, 0)
    assert made.blocks_due() == made.blocks


def test_a_removal_is_enforced_from_the_first_call_that_gets_through_for_good():
    """Blocked until 45 ms after the command: 45 ms, nothing missed, nothing falsely blocked."""
    made = change("remove", blocked=lambda at_ms: at_ms < BEGUN + 45)
    assert made.enforced_ms() == 45
    assert (made.missed(), made.false_blocks()) == (0, 0)


def test_an_answer_that_wavers_counts_only_from_where_it_stays():
    """One call let through late moves the moment of enforcement behind it."""
    made = change("add", blocked=lambda at_ms: at_ms >= BEGUN + 30 and at_ms != BEGUN + 500)
    assert made.enforced_ms() == 505


@pytest.mark.parametrize("kind", ["add", "remove"])
def test_a_change_that_never_holds_is_reported(kind):
    """An engine that ignores the change: no figure, and every later call is a fault."""
    made = change(kind, blocked=lambda _: kind == "remove")
    assert made.enforced_ms() is None
    late = len(range(int(COMMITTED + GRACE_MS) // 5 * 5 + 5, 15_000, 5))
    assert (made.missed(), made.false_blocks()) == ((late, 0) if kind == "add" else (0, late))


def test_a_listed_number_let_through_before_its_removal_is_missed():
    """While the number was listed beyond doubt, every call had to be blocked."""
    made = change("remove", blocked=lambda at_ms: at_ms < BEGUN and at_ms != 6_000)
    assert made.missed() == 1


def test_a_block_before_the_addition_is_a_false_block():
    """A decision that was read before the command was given cannot come from it."""
    made = change("add", blocked=lambda at_ms: at_ms >= BEGUN + 30 or at_ms == 9_990)
    assert made.false_blocks() == 1


def test_while_it_runs_calls_without_an_answer_yet_are_left_out():
    """The newest decisions are on their way: the figure on the screen must not waver."""
    made = change("add", blocked=lambda at_ms: BEGUN + 30 <= at_ms < 14_900)
    assert made.enforced_ms() is None
    assert made.enforced_ms(until_ms=14_700) == 30


def test_a_number_that_never_was_blocked_can_not_be_unblocked():
    """An engine that blocks nothing gets no figure for a removal."""
    assert change("remove", blocked=lambda _: False).enforced_ms() is None


def test_without_a_change_the_first_state_holds():
    """Before the command nothing is enforced, and any block of an unlisted number is false."""
    made = Probe("add", "+959250000000", "MM/scam")
    made.came_in("add-1", 100)
    made.decided("add-1", "block", 105)
    assert made.enforced_ms() is None
    assert made.false_blocks() == 1


def test_its_calls_carry_its_number_and_are_known_by_their_ids():
    """Each call has a new id that no other change owns."""
    added = Probe("add", "+959250000000", "MM/scam")
    removed = Probe("remove", "+85597000000", "KH/scam")
    record = added.next_call("2025-11-24T00:00:00Z")
    assert b"+959250000000" in (record.value or b"")
    assert added.owns(record.call_id)
    assert not removed.owns(record.call_id)
    assert added.next_call("2025-11-24T00:00:00Z").call_id != record.call_id
