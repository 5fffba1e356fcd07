"""Steps that a list store lost, from the steps of both sides."""

import msgspec

from stream.lists.follower.lost_steps import KnownSteps, LostSteps, lost_steps
from stream.lists.follower.sync_state import ListPosition
from stream.lists.store.store_codec import BaseRecord, Op, Step, chain_after, removal_json

NAME = "TH/national"


def steps(*payloads: bytes, after: Step | None = None) -> list[Step]:
    """Removals of numbers, one behind another."""
    found: list[Step] = []
    generation, chain = (after.generation, after.chain) if after else (0, "")
    for payload in payloads:
        generation += 1
        chain = chain_after(chain, generation, Op.REMOVE, payload)
        found.append(Step("0-0", NAME, generation, Op.REMOVE, payload, chain))
    return found


def removal(number: int) -> bytes:
    return removal_json(number, None)


def at(step: Step) -> ListPosition:
    return ListPosition(step.generation, step.chain)


def by_generation(found: list[Step]) -> dict[int, Step]:
    return {step.generation: step for step in found}


OURS = steps(*map(removal, range(1, 6)))
KNOWN = by_generation(OURS)


def lost(theirs: list[Step], known: dict[int, Step] = KNOWN):
    """The steps of OURS that were lost where the list store has `theirs`."""
    return lost_steps(known, at(OURS[-1]), at(theirs[-1]), by_generation(theirs))


def test_a_list_store_that_is_behind_lost_the_rest():
    """Steps that follow its chain are missing, in order; where one is unknown nothing is shown."""
    assert lost(OURS[:3]).steps == tuple(OURS[3:])
    assert not lost(OURS[:3]).forked
    assert lost(OURS).steps == ()
    assert lost(OURS[:3], by_generation([*OURS[:3], OURS[4]])) is None


def test_steps_from_the_disk_prove_themselves():
    """Steps whose chains are unknown count if they lead from its chain to ours, else not."""
    bare = [Step("", NAME, s.generation, s.op, s.payload, "") for s in OURS[:4]]
    assert len(lost(OURS[:2], by_generation([*bare, OURS[4]])).steps) == 3
    other = Step("", NAME, 4, Op.REMOVE, removal(9), "")
    assert lost(OURS[:2], by_generation([*bare[:3], other, OURS[4]])) is None


def test_a_list_store_that_went_on_keeps_what_is_newer():
    """Ours after the last common step are lost, but for numbers that were changed since."""
    since = steps(removal(8), removal_json(4, "+66812345671"), after=OURS[2])
    for more in ([], steps(*map(removal, range(20, 25)), after=since[-1])):
        found = lost([*OURS[:3], *since, *more])
        assert found.steps == (OURS[4],)
        assert found.replaced == (OURS[3],)
        assert found.forked


def test_a_process_that_began_after_the_last_common_step():
    """It knows that step by the chain of its own first one."""
    since = steps(removal(8), after=OURS[2])
    found = lost([*OURS[:3], *since], by_generation(OURS[3:]))
    assert found.steps == tuple(OURS[3:])
    assert lost([*OURS[:2], *steps(removal(8), after=OURS[1])], by_generation(OURS[3:])) is None


def test_a_list_store_that_lost_all_steps():
    """Both sides begin with a first step of their own."""
    theirs = steps(removal(8), removal(9))
    found = lost(theirs)
    assert found.steps == tuple(OURS)
    assert found.forked


def test_what_another_process_put_back_is_nothing_newer():
    """The same payload in its place: it is made once more, which changes nothing."""
    since = steps(removal(8), removal(4), after=OURS[2])
    assert lost([*OURS[:3], *since]).steps == tuple(OURS[3:])


def bases(*wanted: tuple[str, int] | Step, after: Step) -> list[Step]:
    """Steps behind another: bases by origin and `of`, or the payloads of given ones."""
    found: list[Step] = []
    last = after
    for one in wanted:
        if isinstance(one, Step):
            op, payload = one.op, one.payload
        else:
            what, of = one
            op = Op.BASE
            payload = msgspec.json.encode(BaseRecord(last.generation, 1, "ab", what, of))
        generation = last.generation + 1
        chain = chain_after(last.chain, generation, op, payload)
        last = Step("0-0", NAME, generation, op, payload, chain)
        found.append(last)
    return found


def lost_of(ours: list[Step], theirs: list[Step]) -> LostSteps:
    found = lost_steps(by_generation(ours), at(ours[-1]), at(theirs[-1]), by_generation(theirs))
    assert found is not None
    return found


def test_a_rebuild_is_no_newer_content():
    """It replaces no lost import, and a lost rebuild of a list that went on is no loss."""
    common = OURS[:2]
    ours = [*common, *bases(("import", 0), OURS[4], after=common[-1])]
    theirs = [*common, *bases(OURS[3], ("rebuild", 0), after=common[-1])]
    assert lost_of(ours, theirs).base == ours[2]
    assert lost_of(ours, theirs).replaced == ()
    other = [*common, *bases(("import", 0), after=common[-1])]
    assert lost_of(theirs, other).steps == (theirs[2],)
    assert lost_of(ours, [*common, *bases(OURS[3], ("import", 1), after=common[-1])]).base is None


def test_what_a_repair_put_back_is_there():
    """Up to the generation that it says; what this process knows beyond it is still lost."""
    common = OURS[:2]
    ours = [*common, *bases(("import", 0), OURS[3], OURS[4], after=common[-1])]
    theirs = [*common, *bases(OURS[2], ("repair", 4), after=common[-1])]
    found = lost_of(ours, theirs)
    assert found.steps == (ours[4],)
    assert found.replaced == ()
    assert lost_of(ours, [*common, *bases(OURS[2], ("repair", 5), after=common[-1])]).steps == ()


def test_what_came_before_a_lost_deletion_went_with_it():
    """Nothing of it is put back in a list that went on: it is deleted again."""
    common = OURS[:2]
    gone = Step("0-0", NAME, 0, Op.DELETE, b"a test", "")
    ours = [*common, *bases(("import", 0), OURS[4], gone, after=common[-1])]
    found = lost_of(ours, [*common, *bases(OURS[3], after=common[-1])])
    assert found.steps == (ours[-1],)
    assert found.base is None


def test_a_list_store_that_is_only_newer_lost_nothing():
    """Also where its stream does not reach back to where we are."""
    newer = steps(removal(7), after=OURS[-1])
    assert lost([*OURS, *newer]).steps == ()
    assert lost(newer).steps == ()


def test_a_new_history_takes_the_place_of_the_old_one():
    """A step with another chain ends what was known from there on."""
    known = KnownSteps()
    known.add(OURS)
    other = steps(removal(8), after=OURS[1])
    known.add(other)
    assert known.ends() == {NAME: at(other[0])}
    assert list(known.of(NAME)) == [1, 2, 3]
