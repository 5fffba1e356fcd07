"""Lists shared without numbers that match beyond what they may name, by the engine's counts."""

from collections import Counter
from collections.abc import Iterable, Iterator

from stream.core.filters.blocklists import LiveList, chance_of
from stream.core.filters.bloom import RATE_MAX
from stream.doctor.result import Line, ok, warn
from stream.ops.monitor import metric_names
from stream.ops.monitor.scrape import Answer

_REASONS = {
    "country_not_allowed": "of countries that it may not list",
    "own_service_number": "of our own ([feeds] own_numbers)",
    "emergency_number": "that are dialled for help",
}


def scope_lines(answers: Iterable[Answer]) -> Iterator[Line]:
    """Lists whose hashes matched numbers that they may not name, since the engine began."""
    found: Counter[tuple[str, str]] = Counter()
    known = False
    for one in answers:
        if one.reading is None or not one.reading.has(metric_names.CALLS):
            continue
        known = True
        for labels, count in one.reading.series(metric_names.OUT_OF_SCOPE, confirmed="true"):
            found[labels.get("list", ""), labels.get("reason", "")] += int(count)
    for (name, reason), count in sorted(found.items()):
        whose = _REASONS.get(reason, reason)
        said = f"{name} matched {count:,} numbers {whose}; they were only observed"
        yield warn("what lists name", said, f"ask its owner; ringfence lists show {name}")
    if known and not found:
        yield ok("what lists name", "no list matched a number that it may not name")


def chance_line(held: Iterable[LiveList]) -> Line:
    """How many numbers lists without entries match by chance, all together."""
    lists = list(held)
    chance = chance_of(lists)
    bare = [one.name for one in lists if one.snapshot is not None and one.snapshot.columns is None]
    said = f"{len(bare)} lists without entries match {chance:.2g} of all numbers by chance"
    if chance > RATE_MAX:
        fix = f"ask for fingerprints, or smaller error rates: {', '.join(sorted(bare))}"
        return warn("lists here", said, fix)
    return ok("lists here", said)
