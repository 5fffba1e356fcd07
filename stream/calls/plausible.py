"""Which calls break a plausibility rule, for a batch: the few that may are looked at one by one."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
import phonenumbers
from numpy.typing import NDArray

from stream.calls.batch import CallBatch, Located
from stream.calls.trunks import Trunks
from stream.calls.wording import PLAUSIBLE
from stream.core.call import Ingress
from stream.core.decision import Action
from stream.core.number import Kind, region_of
from stream.core.plausibility import (
    Oddity,
    in_unassigned_block,
    oddity_of,
    same_numbers,
    short_numbers,
)
from stream.core.policy import RuleSettings
from stream.core.texts import Texts


class Broken(NamedTuple):
    """The rule that a call breaks, as a place in `FIXED_RULES`, and what follows."""

    rule: int
    action: Action


def broken_rules(batch: CallBatch, trunks: Trunks, settings: RuleSettings) -> dict[int, Broken]:
    """Calls that break a rule that is on: of the strongest ones the first in their order."""
    on = settings.on
    found: dict[int, Broken] = {}
    for name in sorted(on, key=lambda name: on[name], reverse=True):
        broken = Broken(PLAUSIBLE[name], on[name])
        for call in _LOOKS[name](batch, trunks):
            found.setdefault(call, broken)
    return found


def _invalid(batch: CallBatch, _: Trunks) -> list[int]:
    """Calls whose caller is no possible number, short code or name, and not withheld."""
    return np.flatnonzero(batch.callers.kinds == Kind.INVALID).tolist()


def _odd(oddity: Oddity) -> Callable[[CallBatch, Trunks], list[int]]:
    def look(batch: CallBatch, trunks: Trunks) -> list[int]:
        return [
            call
            for call in _invalid(batch, trunks)
            if oddity_of(batch.callers.text(call), trunks.country(batch.glances[call].trunk))
            is oddity
        ]

    return look


def _in_unassigned_block(batch: CallBatch, _: Trunks) -> list[int]:
    return np.flatnonzero(in_unassigned_block(batch.callers)).tolist()


def _to_itself(batch: CallBatch, _: Trunks) -> list[int]:
    if batch.callees is None:
        return []
    return np.flatnonzero(same_numbers(batch.callers, batch.callees)).tolist()


def _short_from_abroad(batch: CallBatch, trunks: Trunks) -> list[int]:
    return [call for call in short_numbers(batch.callers) if _is_abroad(batch, trunks, call)]


def _is_abroad(batch: CallBatch, trunks: Trunks, call: int) -> bool:
    glance = batch.glances[call]
    return trunks.ingress(glance.trunk, glance.ingress) is Ingress.INTERNATIONAL


def _home_from_abroad(batch: CallBatch, trunks: Trunks) -> list[int]:
    """Calls that come in from abroad with a number of the trunk's own country."""
    may = batch.callers.kinds == Kind.E164
    if batch.located is not None:
        may &= _may_be_home(batch, batch.located, trunks)
    found = []
    for call in np.flatnonzero(may).tolist():
        if _is_abroad(batch, trunks, call):
            caller = batch.callers.e164[call].decode("ascii")
            if region_of(caller) == trunks.country(batch.glances[call].trunk):
                found.append(call)
    return found


def _may_be_home(batch: CallBatch, located: Located, trunks: Trunks) -> NDArray[np.bool_]:
    """Calls that come from abroad, as far as can be said of a whole batch, by a home number."""
    named = [*trunks.named]
    countries = [*(trunks.named[name].country for name in named), trunks.home_country]
    prefixes = [b"+%d" % phonenumbers.country_code_for_region(country) for country in countries]
    callers = np.ascontiguousarray(batch.callers.e164, "S16").view(np.uint8).reshape(-1, 16)
    begins = {prefix: _begin(callers, prefix) for prefix in dict.fromkeys(prefixes)}
    # Only of those that are at home on some trunk the trunk is looked at.
    may: NDArray[np.bool_] = np.logical_or.reduce([*begins.values()])
    rows = np.flatnonzero(may)
    trunk = _some(located.field("trunk"), rows).places_in(named)
    sides = [Ingress.INTERNATIONAL, Ingress.DOMESTIC]
    said = _some(located.field("ingress"), rows).places_in(sides)
    # The last place, -1, is that of a trunk that is not named.
    by_trunk = np.array(
        [*(trunks.named[name].ingress is Ingress.INTERNATIONAL for name in named), False]
    )
    at_home = np.zeros(len(rows), np.bool_)
    for prefix, found in begins.items():
        at_home |= np.array([one == prefix for one in prefixes])[trunk] & found[rows]
    may[rows] = np.where(said < 0, by_trunk[trunk], said == 0) & at_home
    # Of fields that lie elsewhere nothing is known yet.
    may[[*located.odd]] = True
    for constants in located.constants:
        if constants.texts:
            may[: constants.stop] = True
    return may


def _some(texts: Texts, rows: NDArray[np.int64]) -> Texts:
    return Texts(texts.data, texts.starts[rows], texts.sizes[rows])


def _begin(callers: NDArray[np.uint8], prefix: bytes) -> NDArray[np.bool_]:
    """Which rows of letters begin with `prefix`."""
    found: NDArray[np.bool_] = callers[:, 0] == prefix[0]
    for place in range(1, len(prefix)):
        found &= callers[:, place] == prefix[place]
    return found


_LOOKS: Final[Mapping[str, Callable[[CallBatch, Trunks], list[int]]]] = {
    "home_number_from_abroad": _home_from_abroad,
    "short_number_from_abroad": _short_from_abroad,
    "caller_is_callee": _to_itself,
    "unassigned_country_code": _odd(Oddity.UNASSIGNED_COUNTRY_CODE),
    "impossible_length": _odd(Oddity.IMPOSSIBLE_LENGTH),
    "unassigned_block": _in_unassigned_block,
    "invalid_caller": _invalid,
}
