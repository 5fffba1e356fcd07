"""Any steps of any appeals: the book is what a naive model of it says, and its indexes agree."""

import random

import pytest

from stream.appeals import appeal_store as book_module
from stream.appeals.appeal_store import AppealStore
from stream.core.model.appeal import OPEN, Appeal, AppealState, AppealStep, NamedList
from stream.core.model.errors import AppealRefused
from stream.lists.store.heads import By
from stream.lists.store.settings import ListStoreSettings
from tests.support.builders import NOW_S

LISTS = ("KH/scam", "TH/national", "PH/scam")
CLOSED_MAX = 12


def made(chance: random.Random, name: str) -> Appeal:
    """A new appeal: on one of a few numbers, or a partner's."""
    lists = tuple(
        NamedList(list=one, fingerprint="") for one in chance.sample(LISTS, chance.randint(1, 3))
    )
    partner = chance.choice([None, None, "TH"])
    digit = chance.randint(0, 5)
    return Appeal(
        id=f"A-{name}",
        number=None if partner else f"+6681234567{digit}",
        lists=lists,
        received_at_s=NOW_S,
        deadline_at_s=NOW_S,
        history=(AppealStep(at_s=NOW_S, actor="a", state=AppealState.RECEIVED),),
        decision_id=None if partner else chance.choice([None, f"D-{digit}"]),
        partner=partner,
        partner_appeal=f"B-{chance.randint(0, 5)}" if partner else None,
    )


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_book_is_its_model(redis_url, raw, monkeypatch, seed) -> None:
    """Appeals come in, repeat, go on and are answered in any order; what is kept, what is open,
    and what is found by state, list, decision and number is at each end what it should be.
    """
    monkeypatch.setattr(book_module, "CLOSED_MAX", CLOSED_MAX)
    chance = random.Random(seed)
    model: dict[str, Appeal] = {}
    answered: list[str] = []

    def known(subject: str) -> str | None:
        return next(
            (
                one.id
                for one in model.values()
                if one.subject == subject and (one.open or one.partner is not None)
            ),
            None,
        )

    async with AppealStore.open(ListStoreSettings(redis_url), kept_days=730) as book:
        for turn in range(250):
            if not model or chance.random() < 0.4:
                one = made(chance, str(turn))
                kept, is_new = await book.add(one, By("a"))
                expected = known(one.subject)
                assert (kept.id, is_new) == (expected or one.id, expected is None)
                model.setdefault(kept.id, kept)
                continue
            name, state = chance.choice([*model]), chance.choice([*AppealState])
            try:
                model[name] = await book.step(name, state, By("b", "because"))
            except AppealRefused:
                assert not model[name].open or state in {AppealState.RECEIVED, model[name].state}
                continue
            if state not in OPEN:
                answered.append(name)
            for gone in answered[:-CLOSED_MAX]:
                model.pop(gone, None)
        for state in AppealState:
            found = await book.in_state(state)
            assert {one.id for one in found} == {o.id for o in model.values() if o.state is state}
            assert all(model[one.id] == one for one in found)
        for name in LISTS:
            about = {one.id for one in model.values() if one.names(name)}
            assert {one.id for one in await book.about(name)} == about
        standing = await book.standing()
    waiting = {one.id for one in model.values() if one.open}
    assert standing.overdue == len(waiting)
    assert set(raw.zrange("rf:appeals:open", 0, -1)) == waiting
    assert set(raw.zrange("rf:appeals:closed", 0, -1)) == model.keys() - waiting
    decided = {one.decision_id: one.id for one in model.values() if one.decision_id}
    assert raw.hgetall("rf:appeals:decisions") == decided
    subjects = {
        one.subject: one.id for one in model.values() if one.open or one.partner is not None
    }
    assert raw.hgetall("rf:appeals:subjects") == subjects
