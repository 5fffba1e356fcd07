"""Confidence in a number at one moment, from all reports of it, and until when it lasts.

Nothing stored is ever rewritten: confidence is worked out when a call is decided.

- It falls with age by the polynomial of MISP's decaying models: c(t) = c (1 - (t / T)^(1 / s)) with
  the lifetime T and the decay speed s, and 0 from T on (A. Iklody et al., "Decaying Indicators of
  Compromise", 2018; MISP's `DecayingModelsFormulas/Polynomial.php`, whose `base_score` is what was
  reported here, and whose threshold is a list's `confidence_min`). A report from the future counts
  as made now. MISP gives it 0, which would unblock a number for a clock that is a second ahead.
- Independent sources raise it: it is the chance that not all of them err, 1 - prod(1 - c_i). Each
  source has one report, so none counts twice. What says that the number is legitimate lowers it:
  times prod(1 - l_j).
- Its category is that of the surest live report, of equals the newest; it ends with the last one.
  A number of which all live reports say that it is legitimate is no match.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core.model.entry import NEVER, Category

LIFETIME_S, EXPONENT = 0, 1
"""Columns of a `Decay`."""
Decay = NDArray[np.float64]
"""float64[lists, 2], by a list's index: lifetime in seconds (0: no decay), and 1 / decay speed."""

NUDGE = 1e-9
"""Before rounding, so that a half is rounded alike however its last bit came out."""
_ENDLESS = np.int64(1 << 40)  # beyond every time that an entry can have


@dataclass(frozen=True, slots=True, eq=False)
class Reports:
    """Reports in columns of one length, those of one number on one list side by side.

    `first` int64 are the places where a number's begin. `speaks` bool: it is one, not the word
    that a number was taken off. The others as in `Columns`, times int64; `lists` int64.
    """

    first: NDArray[np.int64]
    lists: NDArray[np.int64]
    speaks: NDArray[np.bool_]
    category: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    reported_at_s: NDArray[np.int64]
    expires_at_s: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class WeighedReports:
    """For each number: is it a match, of which category, how surely (0 to 100), until when."""

    matches: NDArray[np.bool_]
    category: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    expires_at_s: NDArray[np.int64]


def decay_of(lists: Sequence[tuple[float, float]]) -> Decay:
    """Return the `Decay` of lists with these lifetimes in days (0: no decay) and decay speeds."""
    days = np.array([days for days, _ in lists], np.float64)
    speeds = np.array([speed for _, speed in lists], np.float64)
    return np.stack([days * 86_400, 1 / speeds], axis=1)


def standing(reports: Reports, decay: Decay, now_s: int) -> WeighedReports:
    """Return the confidence in each number at `now_s`, seconds since the epoch."""
    live = (reports.expires_at_s == NEVER) | (now_s < reports.expires_at_s)
    live &= reports.speaks
    legitimate = reports.category == Category.LEGITIMATE
    blames = live & ~legitimate
    sure = left(reports.confidence, reports.reported_at_s, decay[reports.lists], now_s)
    # One report a number, as nearly always: nothing needs to be put together.
    if len(reports.first) == len(sure):
        return WeighedReports(blames, reports.category, rounded(sure), reports.expires_at_s)
    first = reports.first
    err = np.multiply.reduceat(np.where(blames, 1 - sure, 1.0), first)
    doubt = np.multiply.reduceat(np.where(live & legitimate, 1 - sure, 1.0), first)
    # "Never" is stored as 0, and must be the latest end of all for the maximum.
    ends = np.where(reports.expires_at_s == NEVER, _ENDLESS, reports.expires_at_s)
    until = np.maximum.reduceat(np.where(blames, ends, 0), first)
    number = np.repeat(np.arange(len(first)), np.diff(first, append=len(sure)))
    order = np.lexsort(
        (reports.category, -reports.reported_at_s, -sure, ~blames, number)
    )  # a number's surest first; of equals the newest, then the smallest category
    return WeighedReports(
        np.logical_or.reduceat(blames, first),
        reports.category[order[first]],
        rounded((1 - err) * doubt),
        np.where(until == _ENDLESS, NEVER, until),
    )


def left(
    confidence: NDArray[np.uint8], reported_at_s: NDArray[np.int64], decay: Decay, now_s: int
) -> NDArray[np.float64]:
    """Return what is left of each report's confidence at `now_s`, 0 to 1.

    `decay` has a row for each report.
    """
    lifetime_s = decay[:, LIFETIME_S]
    fades = lifetime_s > 0
    age = np.maximum(now_s - reported_at_s, 0) / np.where(fades, lifetime_s, 1.0)
    share = np.where(fades, np.minimum(age, 1.0) ** decay[:, EXPONENT], 0.0)
    sure: NDArray[np.float64] = confidence * (1 - share) / 100
    return sure


def rounded(sure: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Confidence, 0 to 100, from 0 to 1."""
    return np.floor(100 * sure + (0.5 + NUDGE)).astype(np.uint8)
