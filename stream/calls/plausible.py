"""Which calls break a plausibility rule, for a batch: the few that may are looked at one by one."""

import numpy as np
import phonenumbers
from numpy.typing import NDArray

from stream.calls.batch import CallBatch, Located
from stream.calls.trunks import Trunks
from stream.core.call import Ingress
from stream.core.number import Kind, region_of


def invalid_callers(batch: CallBatch) -> NDArray[np.int64]:
    """Calls whose caller is no possible number, short code or name, and not withheld."""
    return np.flatnonzero(batch.callers.kinds == Kind.INVALID)


def home_from_abroad(batch: CallBatch, trunks: Trunks) -> list[int]:
    """Calls that come in from abroad with a number of the trunk's own country."""
    may = batch.callers.kinds == Kind.E164
    if batch.located is not None:
        may &= _may_be_home(batch, batch.located, trunks)
    found = []
    for call in np.flatnonzero(may).tolist():
        glance = batch.glances[call]
        if trunks.ingress(glance.trunk, glance.ingress) is Ingress.INTERNATIONAL:
            caller = batch.callers.e164[call].decode("ascii")
            if region_of(caller) == trunks.country(glance.trunk):
                found.append(call)
    return found


def _may_be_home(batch: CallBatch, located: Located, trunks: Trunks) -> NDArray[np.bool_]:
    """Calls that come from abroad, as far as can be said of a whole batch, by a home number."""
    named = [*trunks.named]
    trunk = located.field("trunk").places_in(named)
    said = located.field("ingress").places_in([Ingress.INTERNATIONAL, Ingress.DOMESTIC])
    # The last place, -1, is that of a trunk that is not named.
    by_trunk = np.array(
        [*(trunks.named[name].ingress is Ingress.INTERNATIONAL for name in named), False]
    )
    abroad = np.where(said < 0, by_trunk[trunk], said == 0)
    countries = [*(trunks.named[name].country for name in named), trunks.home_country]
    prefixes = [b"+%d" % phonenumbers.country_code_for_region(country) for country in countries]
    callers = np.ascontiguousarray(batch.callers.e164, "S16").view(np.uint8).reshape(-1, 16)
    at_home = np.zeros(len(batch), np.bool_)
    for prefix in {*prefixes}:
        on_trunk = np.array([one == prefix for one in prefixes])
        begins = (callers[:, : len(prefix)] == np.frombuffer(prefix, np.uint8)).all(axis=1)
        at_home |= on_trunk[trunk] & begins
    may = abroad & at_home
    # Of fields that lie elsewhere nothing is known yet.
    may[[*located.odd]] = True
    for constants in located.constants:
        if constants.texts:
            may[: constants.stop] = True
    return may
