"""`ringfence exchange run`: publish our lists as they change.

Each second it checks which lists to publish, and how. An agreement begins and ends at its moment,
and a list that no agreement shares any more is withdrawn. A new role of a list, and a new key in
the folder of circles, count without a restart.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stream.config.agreement_files import AgreementFolder
from stream.config.settings import Settings
from stream.core.model.agreement import Agreements, Shared
from stream.core.model.errors import ConfigInvalid, Fault
from stream.exchange import repository_files
from stream.exchange.edition import Edition, Offer, shares_of
from stream.exchange.publisher import (
    ListPublisher,
    PublishPace,
    PublishTrouble,
    Renewed,
    Told,
    Withdrawn,
    keep_published,
    trouble_of,
)
from stream.exchange.repository import role_statuses
from stream.exchange.signing import role_of
from stream.ops.clock import monotonic_s, now_s
from stream.ops.metrics.exchange_catalogue import ExchangeMetrics
from stream.ops.tasks import supervised
from stream.services import service
from stream.services.service import Service, Words

log = logging.getLogger(__name__)
SEEN_S: Final = 5.0
"""Seconds between two readings of the gauges from the repository."""
_LIST_STORE, _REPOSITORY = "list store", "repository"
_NOT_YET: Final = "was not reached yet"
_OF_LIST_STORE: Final = frozenset({PublishTrouble.LIST_STORE, PublishTrouble.LIST_STORE_UNSAFE})


def run(
    settings: Settings, outlet: ListPublisher, lists: Sequence[str] | None, share: Shared | None
) -> int:
    """Publish until a signal; return the exit code. `lists` None: all that have a role."""

    def main() -> Coroutine[Any, Any, int]:
        offers = CurrentOffers(settings, outlet, lists, share)
        return _Publishing(settings, outlet, offers).run()

    return service.run(settings, main, process="exchange")


def pace_of(settings: Settings) -> PublishPace:
    """Return the intervals of publishing."""
    section = settings.exchange
    return PublishPace(
        gather_s=section.gather_s,
        look_s=section.look_s,
        resign_s=section.resign_s,
        kept_s=section.kept_hours * 3600,
        block_ms=settings.lists.changes_block_ms,
    )


def lists_of(outlet: ListPublisher) -> frozenset[str]:
    """Return the lists that have a role in the repository. Raises ExchangeFault."""
    roles = repository_files.read(outlet.folder).roles
    return frozenset(role.replace("~", "/") for role in roles if not role.endswith("~enforcement"))


@dataclass(slots=True)
class CurrentOffers:
    """The lists that are shared now, and how: `exchange.publisher.Offers`.

    `share` holds for all lists, whatever agreements say. Without it the agreements in force decide;
    where a folder of agreements is named, a list that none of them shares is not published.
    """

    settings: Settings
    outlet: ListPublisher
    lists: Sequence[str] | None
    share: Shared | None
    clock: Callable[[], int] = now_s
    _folder: AgreementFolder = field(init=False)
    _names: frozenset[str] = field(init=False)
    _keys: Mapping[str, bytes] = field(init=False, repr=False)
    _span: tuple[int, int] = field(init=False, default=(0, 0))
    _looked_s: float = field(init=False, default=0.0)
    _said: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._folder = AgreementFolder(self.settings.agreements.folder())
        self._folder.start()
        self._keys = self.settings.circle_keys()
        self._names = frozenset(self.lists) if self.lists else lists_of(self.outlet)

    @property
    def names(self) -> frozenset[str]:
        """Names of the lists."""
        return self._names

    @property
    def agreements(self) -> Agreements:
        """The agreements; of a file that cannot be used any more, its last good version."""
        return self._folder.reading.agreements

    def look(self) -> bool:
        """Read agreements and roles again. Return whether anything changed since the last look."""
        before = (self._names, self.agreements, self._span)
        if monotonic_s() - self._looked_s >= self.settings.agreements.reload_s:
            self._looked_s = monotonic_s()
            self._folder.look()
            wrong = "; ".join(one for some in self._folder.reading.errors.values() for one in some)
            try:
                self._names = self._names if self.lists else lists_of(self.outlet)
            except Fault as fault:
                wrong = str(fault)
            self._say(wrong)
        self._span = self.agreements.unchanged(self.clock())
        return before != (self._names, self.agreements, self._span)

    def _say(self, wrong: str) -> None:
        if wrong and wrong != self._said:
            log.error("agreements or roles not usable, the last good ones stay: %s", wrong)
        self._said = wrong

    def offer(self, name: str, circle: str) -> Offer | None:
        """Return how a list is shared now; None: it is not. Raises ConfigInvalid."""
        shares = self.share or shares_of(self.agreements, name, self.clock())
        if shares is None and self.agreements.needed:
            return None
        key = self._keys.get(circle)
        if key is None:
            text = f"{name} is hashed in circle {circle}, whose key is not here"
            raise ConfigInvalid((f"{text}: `ringfence circle create {circle} --key-file FILE`",))
        return Offer(name, shares or Shared.FINGERPRINTS, key)


class _Publishing(Service):
    """Publishes, and shows what it published."""

    def __init__(self, settings: Settings, outlet: ListPublisher, offers: CurrentOffers) -> None:
        super().__init__(
            settings,
            settings.exchange.http_port,
            words=Words(stopped="stopped; what was published stays"),
        )
        self._outlet, self._offers = outlet, offers
        self._metrics = ExchangeMetrics(self.registry, settings.ops.lists_max)
        self._faults: dict[str, str] = {_LIST_STORE: _NOT_YET}
        self._expired: tuple[str, ...] = ()
        self._shared: dict[str, bool] = {}

    async def _work(self) -> None:
        names = ", ".join(sorted(self._offers.names))
        log.info("publishing %s in %s", names, self._outlet.folder)
        list_store, pace = self.settings.list_store(), pace_of(self.settings)
        publishing = keep_published(self._outlet, self._offers, list_store, pace, self._tell)
        await supervised(publishing, gauges=self._see())

    def _tell(self, name: str, told: Told) -> None:
        place = name or _LIST_STORE
        if isinstance(told, Fault):
            trouble = trouble_of(told)
            self._metrics.failures.labels(name, trouble).inc()
            if not name and trouble in _OF_LIST_STORE:
                self._metrics.register_up.set(0)
            elif not name:
                place = _REPOSITORY
            if self._faults.get(place) != str(told):
                log.warning("%s: %s", place, told)
            self._faults[place] = str(told)
            return
        if isinstance(told, Renewed):
            place = _REPOSITORY
            if told.roles:
                log.info("signed again: %s", ", ".join(told.roles))
        elif not name:
            self._metrics.register_up.set(1)
        if self._faults.pop(place, _NOT_YET) != _NOT_YET:
            log.info("exchange recovered part=%s", place)
        if name:
            self._of_list(name, told)

    def _of_list(self, name: str, told: Told) -> None:
        if isinstance(told, Edition):
            self._metrics.editions.labels(name, "whole" if told.whole else "changes").inc()
            log.info("%s", in_words(name, told))
        shared = not isinstance(told, Withdrawn)
        if shared is not self._shared.get(name, True) and not shared:
            log.warning("%s: no agreement in force shares it: nothing of it is published", name)
        self._shared[name] = shared
        self._metrics.shared.set(name, shared)

    async def _see(self) -> None:
        """Set the gauges from the repository, until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._look)
            except Fault as fault:
                self._tell("", fault)
            await asyncio.sleep(SEEN_S)

    def _look(self) -> None:
        published, at_s = repository_files.read(self._outlet.folder), now_s()
        found = role_statuses(published)
        for one in found:
            self._metrics.expires.set(one.role, one.expires_s)
        self._expired = tuple(one.role for one in found if one.expires_s <= at_s)
        for name in self._offers.names:
            latest = self._outlet.before(name) if role_of(name) in published.roles else None
            self._metrics.generation.set(name, latest.generation if latest else 0)
            self._metrics.published.set(name, latest.made_at_s if latest else 0)

    def _missing(self) -> tuple[str, ...]:
        # A list that has no role any more is not looked at, and its last fault stays.
        places = {_LIST_STORE, _REPOSITORY, *self._offers.names}
        faults = (f"{place}: {text}" for place, text in self._faults.items() if place in places)
        return (*faults, *(f"{role}: has expired" for role in self._expired))


def in_words(name: str, edition: Edition | None) -> str:
    """Return one line on what was published."""
    if edition is None:
        return f"{name}: nothing new"
    latest = edition.latest
    size = sum(len(data) for data in edition.parts.values())
    what = "the whole list" if edition.whole else f"{edition.rows:,} changed numbers"
    shared = f"{latest.numbers:,} numbers, shared as {latest.shares.value}"
    return f"{name}: generation {latest.generation}: {what}, {size:,} bytes; {shared}"
