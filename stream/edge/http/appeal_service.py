"""Decisions by id and appeals, for the routes of both."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from stream.appeals import actions
from stream.appeals.actions import AppealContext
from stream.appeals.appeal_store import AppealStore
from stream.core.model.agreement import owner_of
from stream.core.model.appeal import Appeal, AppealState
from stream.core.model.decision import Decision
from stream.core.model.errors import AppealRefused
from stream.edge.http.auth import RateLimit
from stream.edge.http.decision_store import DecisionStore, PreloadedDecisions
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore

RULES: Final[Mapping[str, str]] = {
    "do_not_originate": "the calling number takes calls and never makes any",
    "home_number_from_abroad": "a number of this country cannot come in from abroad on this trunk",
    "short_number_from_abroad": "a number of three or four digits cannot come in from abroad",
    "caller_is_callee": "the calling number is the called one",
    "voip_from_abroad_mark": "the calling number is marked as an internet call from abroad",
    "roaming_mark": "the calling number has a mark of roaming that none on this trunk can have",
    "unassigned_country_code": "the calling number begins with a country code that nobody has",
    "impossible_length": "the calling number is too short or too long for its country",
    "unassigned_block": "the calling number is in a block that its country has not given out",
    "invalid_caller": "the calling number is no number that can exist",
    "short_bursts": "the calling number has made many short calls within a short time",
    "attestation_failed": "a signature of the call (STIR/SHAKEN) was found wrong",
    "attestation_missing": "no network attests the calling number (STIR/SHAKEN)",
    "unasked": "a list that should have been asked could not be",
}
"""Rules in words; others are shown by their names."""


@dataclass(frozen=True, slots=True)
class DecidingList:
    """One reason for a decision: a list, and the contact for a removal."""

    list: str
    owner: str
    category: str
    confirmed: bool
    contact: str


@dataclass(slots=True, kw_only=True)
class AppealService:
    """Decisions by id, and appeals. Every method may raise ListStoreDown.

    `connect` opens the list store for a redress. `context` gives keys, agreements and terms of the
    moment. `contacts` are by owner, for lists without an agreement. `rate_limit` bounds what one
    address may ask without a token.
    """

    decisions: DecisionStore
    store: AppealStore
    connect: Callable[[], Awaitable[ListStore]]
    context: Callable[[], AppealContext]
    contacts: Mapping[str, str]
    rate_limit: RateLimit
    preloaded: PreloadedDecisions | None = None

    async def find(self, decision_id: str) -> Decision | None:
        """Return the decision with that id, or the decision of the preloaded key with that id."""
        found = await self.decisions.find(decision_id)
        if found is None and self.preloaded is not None:
            found = await self.preloaded.find(decision_id)
        return found

    def because(self, decision: Decision) -> list[DecidingList]:
        """Return the deciding lists, each with its owner's contact."""
        return [
            DecidingList(
                list=reason.list,
                owner=owner_of(reason.list),
                category=(reason.category or "not confirmed").replace("_", " "),
                confirmed=reason.confirmed,
                contact=self.contact(reason.list, reason.agreement),
            )
            for reason in decision.reasons
        ]

    def contact(self, list_name: str, agreement_id: str | None) -> str:
        """Return whom to ask about a list: the agreement's word, else the settings'; "": nobody."""
        owner = owner_of(list_name)
        parties = (
            one.parties[owner]
            for one in self.context().agreements.held
            if one.id == agreement_id and owner in one.parties
        )
        party = next(parties, None)
        return self.contacts.get(owner, "") if party is None else party.contact

    def rule(self, decision: Decision) -> str:
        """Return the deciding rule in words."""
        return RULES.get(decision.rule, decision.rule.replace("_", " "))

    async def appeal(self, decision: Decision, appellant: str, by: By) -> tuple[Appeal, bool]:
        """Open an appeal against a decision; return it, and whether it is new.

        Raises AppealRefused.
        """
        if decision.number is None and decision.reasons:
            raise AppealRefused(
                "this id stands for a range of numbers, not for one: ask the list's contact"
            )
        if decision.number is None:
            raise AppealRefused("the decision is about a withheld number, which is on no list")
        async with await self.connect() as store:
            return await actions.open_appeal(
                store,
                self.store,
                self.context(),
                decision.number,
                actions.reasons_of(decision),
                by,
                decision_id=decision.decision_id,
                appellant=appellant,
            )

    async def answer(self, appeal_id: str, state: AppealState, by: By) -> Appeal:
        """Forward, redress or reject. Raises AppealUnknown, AppealRefused."""
        if state is AppealState.PENDING_OWNER:
            return await actions.forward(self.store, self.context(), appeal_id, by)
        if state is AppealState.REJECTED:
            return await self.store.step(appeal_id, state, by)
        async with await self.connect() as store:
            done = await actions.redress(store, self.store, self.context(), appeal_id, by)
        return done.appeal
