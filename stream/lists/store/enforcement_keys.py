"""The names of the keys in Redis under which enforcement is counted, and how long they stay.

| key | type | holds |
|---|---|---|
| `rf:enforced:{LIST}:DAY` | hash | counts of one UTC day, see below |
| `rf:enforced:{LIST}:DAY:peaks` | zset | the greatest: `in_force` and `first` in ms, `stale` in s |
| `rf:enforced:{LIST}:PERIOD:CATEGORY` | set | numbers stopped in a day or month, the first 4,096 |
| `rf:enforced:{LIST}:PERIOD:CATEGORY:all` | HyperLogLog | the same, however many |
| `rf:enforced:{LIST}:fresh` | zset | fingerprints that came lately -> when published, ms |
| `rf:enforced:{LIST}:sightings` | hash | `DAY FINGERPRINT` -> who saw that it is no scammer's |
| `rf:enforced:{LIST}:by:COUNTRY` | hash | DAY -> the document of that country, ours too |
| `rf:enforced:read:COUNTRY` | hash | document's name -> SHA-256 of the file last looked at |
| `rf:enforced:refused:COUNTRY` | hash | document's name -> why it was not taken |
| `rf:enforced:sighted:{LIST}` | hash | `COUNTRY FINGERPRINT APPEAL` -> when it was taken over |
| `rf:enforced:at:PARTITION` | hash | `offset`: how far decisions are counted; `place` in `seen` |
| `rf:enforced:seen:PARTITION` | string | the ids counted last, 8 bytes each, as a ring |
| `rf:enforced:counted` | set | the partitions that are counted |
| `rf:enforced:feeds` | hash | LIST -> the feed that brings it |

Fields of a day: `calls:CATEGORY:OUTCOME`, `in_force:STEP`, `first:STEP` (see `core.delays`),
`versions:VERDICT`.
"""

from datetime import date
from typing import Final

DAY_S: Final = 86_400
REBUILT_DAYS: Final = 8
"""Documents of so many days are made anew when more is counted: decisions stay 7 days in Kafka."""
COUNTS_S: Final = 40 * DAY_S
DAY_NUMBERS_S: Final = (REBUILT_DAYS + 2) * DAY_S
MONTH_NUMBERS_S: Final = 45 * DAY_S
EXACT_MAX: Final = 4096
"""Numbers of a day or month, list and category that are counted one by one, 60 bytes each; beyond
them Redis estimates, by 0.8 % (standard error), in 12 KB."""
FRESH_MAX: Final = 100_000
SEEN: Final = 65_536
"""Decisions of a partition among which a repeat is recognised: half a megabyte. A worker repeats
after a crash what it had not committed, which is at most a second's calls."""

COUNTED: Final = "rf:enforced:counted"
FEEDS: Final = "rf:enforced:feeds"


def day(list_name: str, of: date) -> str:
    """Counts of one day."""
    return f"rf:enforced:{{{list_name}}}:{of.isoformat()}"


def peaks(list_name: str, of: date) -> str:
    """The greatest delays and ages of one day."""
    return f"{day(list_name, of)}:peaks"


def numbers(list_name: str, period: str, category: str) -> str:
    """Different numbers stopped in a period, `2026-11-25` or `2026-11`; `<this>:all` estimates."""
    return f"rf:enforced:{{{list_name}}}:{period}:{category}"


def fresh(list_name: str) -> str:
    """Numbers that came on the list lately, until the first call of each was stopped."""
    return f"rf:enforced:{{{list_name}}}:fresh"


def sightings(list_name: str) -> str:
    """Numbers of the list that were found to be no scammers'."""
    return f"rf:enforced:{{{list_name}}}:sightings"


def documents(list_name: str, country: str) -> str:
    """What a country says that it did by the list."""
    return f"rf:enforced:{{{list_name}}}:by:{country}"


def read(country: str) -> str:
    """Which files of a country were looked at."""
    return f"rf:enforced:read:{country}"


def refused(country: str) -> str:
    """Which of a country's documents were not taken."""
    return f"rf:enforced:refused:{country}"


def sighted(list_name: str) -> str:
    """Which sightings of partners our list says already."""
    return f"rf:enforced:sighted:{{{list_name}}}"


def at(partition: str) -> str:
    """How far a partition of decisions is counted."""
    return f"rf:enforced:at:{partition}"


def seen(partition: str) -> str:
    """The decisions of a partition that were counted last."""
    return f"rf:enforced:seen:{partition}"
