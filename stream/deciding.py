"""Calls decided with the lists, the agreements and the time of the moment."""

from collections.abc import Callable
from dataclasses import dataclass, field

from stream.calls.batch import CallBatch
from stream.calls.decide import Outcome, Rules, decide
from stream.config import Settings
from stream.core.agreement import Agreements
from stream.core.blocklists import Blocklists
from stream.core.bounds import compile_bounded
from stream.core.emergency import EmergencyNumbers
from stream.ops.clock import now_ms


@dataclass(slots=True)
class Decider:
    """Decides batches with the lists and agreements of the moment.

    `current` and `agreements` give the same value until something changes. Then, and when the next
    agreement begins or ends by `clock_ms`, rules are compiled anew; a call costs the same whether
    there are none or two hundred.
    """

    settings: Settings
    current: Callable[[], Blocklists]
    agreements: Callable[[], Agreements]
    clock_ms: Callable[[], int] = now_ms
    _seen: Blocklists | None = field(init=False, default=None)
    _agreed: Agreements | None = field(init=False, default=None)
    _from_ms: int = field(init=False, default=0)
    _until_ms: int = field(init=False, default=0)
    _rules: Rules = field(init=False)

    def __call__(self, batch: CallBatch) -> Outcome:
        """What comes of `batch` now."""
        blocklists, agreed, at_ms = self.current(), self.agreements(), self.clock_ms()
        if (
            blocklists is not self._seen
            or agreed is not self._agreed
            or not self._from_ms <= at_ms < self._until_ms
        ):
            self._look(blocklists, agreed, at_ms)
        return decide(batch, blocklists, self._rules, at_ms)

    def _look(self, blocklists: Blocklists, agreed: Agreements, at_ms: int) -> None:
        """Compile the rules, unless nothing that they come from has changed."""
        same = self._seen is not None and blocklists.names == self._seen.names
        same = same and agreed is self._agreed and self._from_ms <= at_ms < self._until_ms
        if not same:
            self._rules = rules_for(self.settings, blocklists, agreed, at_ms // 1000)
            from_s, until_s = agreed.unchanged(at_ms // 1000)
            self._from_ms, self._until_ms = from_s * 1000, until_s * 1000
        self._seen, self._agreed = blocklists, agreed


def rules_for(
    settings: Settings, blocklists: Blocklists, agreements: Agreements, at_s: int
) -> Rules:
    """All that deciding needs besides batch and lists, at that moment."""
    extra = {country: frozenset(texts) for country, texts in settings.policy.emergency.items()}
    return Rules(
        policy=compile_bounded(
            settings.policy.settings(),
            blocklists.names,
            agreements,
            settings.calls.home_country,
            at_s,
        ),
        emergency=EmergencyNumbers(extra),
        trunks=settings.trunks_by_name(),
        sip=settings.policy.sip(),
        emit_all=settings.calls.emit == "all",
    )
