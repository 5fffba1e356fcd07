r"""Tables `[mappings.<name>]`: how to read the records of a switch that Ringfence does not know.

    [mappings.acme]
    format = "csv"                         # json | csv | fixed
    delimiter = "||"                       # of csv: one character or more
    columns = ["type", "id", "direction", "cli", "extension", "number", "started"]
    skip = ["#", "TRAILER"]                # lines that begin so are no calls
    only = { type = ["CALL"] }             # other records are no calls
    time = "ms"                            # s | ms | us, or as strptime has it; empty: found out
    time_zone = "Asia/Bangkok"             # or "+07:00": of times that do not say
    fields = { call_id = "id", callee = "number", started_at = "started" }
    choose = { caller = { direction = { I = "cli", O = "extension" } } }
    patterns = { caller = '^(?:sip:)?([^@]+)' }
    constants = { stage = "end", trunk = "intl-1" }

A place is a JSON path, or a column's name or number from 0. The steps of a path are separated by
dots; a dot inside a key is written `\.`. `otherwise` has the places that count if a field's own is
empty or absent. `joined` has those whose texts form a field together, with `-` between
them. `choose` finds a field's place by the value at another one. `kinds` does so with whole
records:

    [mappings.acme]
    format = "csv"
    kinds = { "0" = { MOC = "acme-moc", MTC = "acme-mtc" } }     # tables [mappings.acme-moc]...

Of a pattern (a regular expression, see `linear_patterns`), the first group counts, or the whole
match. If it does not match, a call id or number stays as it is, so that no listed number gets by.
An optional field is then absent.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo

from stream.calls.call_batch import SIGNED
from stream.calls.dialects.dialect import REQUIRED
from stream.calls.dialects.linear_patterns import cutter
from stream.core.model.time_zones import zone_named

OPTIONAL = ("started_at", "stage", "ingress", "trunk", "carrier", "duration_s", *SIGNED)
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}
"""Of each unit, the number that is a second."""
DURATIONS = {**UNITS, "cs": 100.0}
"""Those of durations; `cs` are hundredths of a second, the ticks of some switches."""
_ZONED = re.compile(r"%(?:z|:z|Z|s)")
"""In a time format: the times say their zone."""
_FORMATS = ("json", "csv", "fixed")
Choices = Mapping[str, Mapping[str, str]]
"""By a place, and by the value there."""


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """One table `[mappings.<name>]`; see the module. `fields` and `constants` share no key."""

    format: str
    fields: Mapping[str, str] = field(default_factory=dict)
    otherwise: Mapping[str, Sequence[str]] = field(default_factory=dict)
    joined: Mapping[str, Sequence[str]] = field(default_factory=dict)
    choose: Mapping[str, Choices] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kinds: Choices = field(default_factory=dict)
    skip: Sequence[str] = ()
    columns: Sequence[str] = ()
    columns_min: int = 0
    delimiter: str = ","
    escape: str = ""
    widths: Sequence[int] = ()
    time: str = ""
    time_zone: str = ""
    utc_offset: str = ""
    duration: str = "s"
    patterns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if wrong := [*self._wrong()]:
            raise ValueError("; ".join(wrong))

    @property
    def zone(self) -> tzinfo | None:
        """Of times that do not say theirs; None: those are not read."""
        name = self.time_zone or self.utc_offset
        return zone_named(name) if name else None

    @property
    def placed(self) -> tuple[str, ...]:
        """The fields of a call that a record may hold."""
        return tuple(dict.fromkeys((*self.fields, *self.joined, *self.choose)))

    def places(self) -> Iterator[tuple[str, str]]:
        """Yield each place that is named, after the setting that names it."""
        yield from self.fields.items()
        for name in ("otherwise", "joined"):
            for key, several in getattr(self, name).items():
                yield from ((f"{name}: {key}", place) for place in several)
        for key, choices in self.choose.items():
            for place, by_value in choices.items():
                yield f"choose: {key}", place
                yield from ((f"choose: {key}", chosen) for chosen in by_value.values())
        yield from (("only", place) for place in self.only)
        yield from (("kinds", place) for place in self.kinds)

    def column(self, place: str) -> int:
        """Return the number of a column by its name or number."""
        return self.columns.index(place) if place in self.columns else int(place)

    def _wrong(self) -> Iterator[str]:
        if self.format not in _FORMATS:
            yield f"format is json, csv or fixed, not {self.format!r}"
            return
        yield from self._wrong_lines()
        yield from self._wrong_fields()
        if not self.kinds:
            for key in REQUIRED:
                if key not in self.placed:
                    yield f"fields must say where {key} is"
        for by, place in self.places():
            if self.format == "json" and not all(steps(place)):
                yield f"{by}: {place!r} is no path"
            if self.format != "json" and place not in self.columns and not place.isdecimal():
                yield f"{by}: no column is called {place!r}"
        if self.format == "json" and (clash := _clash(self.fields)):
            yield clash
        for key, pattern in self.patterns.items():
            if key not in self.placed:
                yield f"patterns: {key!r} is not in fields"
            try:
                cutter(pattern)
            except ValueError as error:
                yield f"patterns: {key}: {error}"
        yield from self._wrong_choices()
        yield from self._wrong_times()

    def _wrong_lines(self) -> Iterator[str]:
        """Yield what is wrong in how a line is cut into columns."""
        if not self.delimiter or '"' in self.delimiter or set(self.delimiter) & {"\r", "\n"}:
            yield f"delimiter is one character or more, and no quotation mark: {self.delimiter!r}"
        if len(self.escape) > 1 or (self.escape and len(self.delimiter) != 1):
            yield "escape is one character, beside a delimiter of one character"
        if (self.format == "fixed") != bool(self.widths):
            yield 'widths belong to format = "fixed": the characters of each column, in order'
        if any(width < 1 for width in self.widths):
            yield "widths are 1 or more"
        if self.format == "json" and self.skip:
            yield "skip is for lines; of JSON records `only` says which are calls"
        if self.columns_min < 0:
            yield f"columns_min is 0 or more, not {self.columns_min}"
        if any(not beginning for beginning in self.skip):
            yield "skip: an empty text begins every line"

    def _wrong_fields(self) -> Iterator[str]:
        known = (*REQUIRED, *OPTIONAL)
        if self.kinds and (self.placed or self.constants):
            yield "kinds: the tables that it names have the fields; leave them out here"
        for key in dict.fromkeys((*self.placed, *self.constants, *self.otherwise)):
            if key not in known:
                yield f"{key!r} is no field of a call; they are {', '.join(known)}"
        for key in sorted(set(self.placed) & self.constants.keys()):
            yield f"{key!r} is both in fields and in constants"
        for key in self.joined:
            if key in self.fields or key in self.choose:
                yield f"{key!r} is in joined: leave it out of fields and choose"
        for key in self.otherwise:
            if key not in self.fields:
                yield f"otherwise: {key!r} is not in fields"

    def _wrong_choices(self) -> Iterator[str]:
        for key, choices in (*self.choose.items(), *(("", self.kinds),) * bool(self.kinds)):
            if len(choices) != 1 or not all(choices.values()):
                name = f"choose: {key}" if key else "kinds"
                yield f"{name}: name one place, and what each of its values chooses"
        for place, values in self.only.items():
            if not values:
                yield f"only: {place}: name a value"

    def _wrong_times(self) -> Iterator[str]:
        if self.time_zone and self.utc_offset:
            yield "time_zone and utc_offset say the same: keep one"
        for key in ("time_zone", "utc_offset"):
            if text := getattr(self, key):
                try:
                    zone_named(text)
                except ValueError as error:
                    yield f"{key}: {error}"
        if self.time and self.time not in UNITS and "%" not in self.time:
            yield f"time is s, ms, us or a format such as %Y-%m-%d %H:%M:%S, not {self.time!r}"
        if self.duration not in DURATIONS:
            yield f"duration is in s, cs, ms or us, not {self.duration!r}"
        written = "%" in self.time and not _ZONED.search(self.time)
        if written and "started_at" in self.placed and not (self.time_zone or self.utc_offset):
            yield f"time {self.time!r} has no zone: set time_zone, for example Asia/Bangkok"


def _clash(paths: Mapping[str, str]) -> str:
    """Return what is wrong where one path ends inside another; "": none does."""
    ends = [tuple(steps(path)) for path in paths.values()]
    for end in ends:
        for other in ends:
            if len(end) < len(other) and other[: len(end)] == end:
                return f"{'.'.join(end)} is a field and holds {'.'.join(other)}"
    if len(set(ends)) < len(ends):
        return "two fields have the same path"
    return ""


def steps(path: str) -> list[str]:
    r"""Return the keys that lead to a JSON field: `sip.code` has two, `sip\.code` is one."""
    return [step.replace("\\.", ".") for step in re.split(r"(?<!\\)\.", path)]
