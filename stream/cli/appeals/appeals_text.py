"""What the commands of `ringfence appeals` share: the desk, the book, and how an appeal is told."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from stream.appeals.actions import Desk
from stream.appeals.appeal_json import appeal_json, shown
from stream.appeals.appeal_store import AppealStore
from stream.cli.list_store import now_s, say, with_list_store
from stream.config.agreement_files import agreements_of
from stream.config.settings import Settings
from stream.core.model.agreement import owner_of
from stream.core.model.appeal import Appeal
from stream.insight.explain.agreement_text import named as clause_of
from stream.insight.explain.explain import contacts_of
from stream.lists.store.list_store import ListStore

T = TypeVar("T")


def desk_of(settings: Settings) -> Desk:
    """Where appeals are answered. Raises ConfigInvalid where an agreement cannot be read."""
    return Desk(
        settings.calls.home_country,
        settings.circle_keys(),
        agreements_of(settings),
        settings.appeals.answer_s,
    )


def with_book(settings: Settings, work: Callable[[ListStore, AppealStore], Awaitable[T]]) -> T:
    """What `work` gives, with the register and the book open; a fault ends the command."""

    async def whole(register: ListStore) -> T:
        async with AppealStore.open(settings.list_store(), settings.appeals.kept_days) as book:
            return await work(register, book)

    return with_list_store(settings, whole)


def whom_to_ask(settings: Settings, appeal: Appeal) -> dict[str, str]:
    """Whom to ask about each list: as its agreement says, else the settings and feed files."""
    agreements, home = agreements_of(settings), settings.calls.home_country
    known = contacts_of(settings)
    found = {}
    for one in appeal.lists:
        clause = one.agreement and clause_of(agreements, one.agreement, one.list, home)
        contact = clause["contact"] if clause else known.get(owner_of(one.list))
        if contact:
            found[one.list] = contact
    return found


def json_of(settings: Settings, appeal: Appeal, *, full: bool) -> dict[str, Any]:
    """An appeal as plain values, with whom to ask about each list."""
    return appeal_json(appeal, now_s(), full=full, contacts=whom_to_ask(settings, appeal))


def fingerprint_of(appeal: Appeal) -> str:
    """What it is called by where its number is not known."""
    return appeal.lists[0].fingerprint if appeal.lists else "-"


def print_appeal(
    settings: Settings, appeal: Appeal, *, full: bool, number: str | None = None
) -> None:
    """An appeal for a person to read."""
    told = json_of(settings, appeal, full=full)
    about = shown(number or appeal.number, full=full) or f"fingerprint {fingerprint_of(appeal)}"
    of = f", {appeal.partner}'s {appeal.partner_appeal}" if appeal.partner else ""
    say(f"{appeal.id}{of}: on {about}: {appeal.state.value}")
    if appeal.open:
        late = ": overdue" if told["overdue"] else ""
        say(f"  to be answered by {told['deadline_at']}{late}")
    if appeal.decision_id:
        say(f"  against decision {appeal.decision_id}")
    if appeal.appellant:
        say(f"  answer to: {appeal.appellant if full else '(--full shows it)'}")
    for one in told["lists"]:
        words = [one["category"], f"by its entry {one['prefix']}" if one["prefix"] else None]
        words += [f"agreement {one['agreement']}" if one["agreement"] else None]
        words += ["unconfirmed" if not one["confirmed"] else None]
        words += [f"ask {one['contact']}" if one["contact"] else None]
        say(f"  {one['list']}: {', '.join(filter(None, words)) or 'ours'}")
    for step in told["history"]:
        comment = f": {step['comment']}" if step["comment"] else ""
        say(f"  {step['at']}  {step['state']} by {step['by']}{comment}")
