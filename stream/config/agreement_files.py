"""`<[agreements] dir>/<id>.toml`: one file per agreement, read as strictly as the settings.

An unknown key is an error that names file, key and the closest known key. All errors of all files
are reported at once. A running worker looks for changed files. Of one that cannot be used any more
its last good version stays in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cattrs import Converter

from stream.config.sections import Filled, toml_paths
from stream.config.settings import EngineSettings
from stream.core.model.agreement import (
    FOREVER,
    Agreement,
    AgreementKind,
    Agreements,
    Clause,
    Every,
    Party,
    PartyRole,
    Reporting,
    Shared,
    Terms,
    is_country,
    owner_of,
)
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.model.errors import ConfigInvalid
from stream.ops.private_files import FileStamp, file_stamp
from stream.ops.schema import checks
from stream.ops.schema.durations import seconds_of
from stream.ops.schema.toml import (
    Between,
    Checked,
    Problem,
    Problems,
    Tables,
    dotted,
    one_of,
    shown,
    strict_converter,
    structured,
)

FILE_BYTES_MAX: Final = 1 << 20
"""A larger file is no agreement: one of 200 lists has 40 KB."""
_END_OF_TIME_S: Final = 253_402_300_800
"""The year 10000, which no date can be written in: until then is for ever."""
_CATEGORIES: Final = tuple(
    category.label for category in Category if category is not Category.LEGITIMATE
)
_Acts = Literal["observe", "flag", "block"]


class Start(int):
    """The moment at which something begins: seconds since the epoch."""


class End(int):
    """The moment from which something is over: seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyTable:
    """`[parties.TH]`: roles and contact of a party."""

    roles: tuple[Literal["owner", "enforcer", "observer"], ...]
    contact: Filled

    def __post_init__(self) -> None:
        if not self.roles:
            text = 'names none: "owner" shares lists, "enforcer" acts by them, "observer" reads'
            raise Problems([Problem(("roles",), f"{text} reports")])
        if "observer" in self.roles and len(self.roles) > 1:
            text = 'an "observer" reads reports and does nothing else'
            raise Problems([Problem(("roles",), text)])


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsTable:
    """`[terms]`, and `[lists."KH/scam"]` completed from it; see `core.agreement.Terms`.

    `to` is for one list: the countries that enforce it, if not all enforcers do.
    """

    action: _Acts
    unconfirmed: _Acts = "flag"
    confidence_min: Annotated[int, Between(0, 100)] = 0
    categories: tuple[str, ...] | None = None
    countries_min: Annotated[int, Between(1, 250)] = 1
    simulate: bool = False
    may_list: tuple[str, ...] | None = None
    shares: Literal["numbers", "fingerprints", "filter"] = "fingerprints"
    to: tuple[str, ...] | None = None
    reference: str = ""

    def __post_init__(self) -> None:
        found = [
            Problem(("categories",), f"may hold {one_of(_CATEGORIES)}, not {shown(label)}")
            for label in self.categories or ()
            if label not in _CATEGORIES
        ]
        wrong = map(checks.country, self.may_list or ())
        found += [Problem(("may_list",), text) for text in wrong if text is not None]
        for name in ("categories", "may_list"):
            if getattr(self, name) == ():
                found.append(Problem((name,), "is empty; leave it out, and all are meant"))
        if found:
            raise Problems(found)

    def terms(self) -> Terms:
        """Return the terms for `core.agreement`."""
        return Terms(
            action=Action[self.action.upper()],
            unconfirmed=Action[self.unconfirmed.upper()],
            confidence_min=self.confidence_min,
            categories=None
            if self.categories is None
            else frozenset(Category[label.upper()] for label in self.categories),
            countries_min=self.countries_min,
            simulate=self.simulate,
            may_list=None if self.may_list is None else frozenset(self.may_list),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTable:
    """`[report]`: rhythm and receivers of the parties' reports; none named: all parties."""

    every: Literal["day", "week", "month", "quarter"]
    due_days: Annotated[int, Between(0, 366)] = 10
    to: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementFile:
    """All of an agreement's file; docs/how-to/agreements.md explains it."""

    title: Filled
    kind: Literal["memorandum", "declaration", "partnership", "pledge"]
    valid_from: Start
    valid_until: End | None = None
    confirmed: Start | None = None
    circle: Filled = "plain"
    response_target: Annotated[str, Checked(checks.maybe(checks.span))] = ""
    texts: tuple[Filled, ...] = ()
    parties: dict[Annotated[str, Checked(checks.party)], PartyTable]
    terms: TermsTable | None = None
    lists: dict[Annotated[str, Checked(checks.list_name)], TermsTable] = field(default_factory=dict)
    report: ReportTable | None = None

    def __post_init__(self) -> None:
        found = [*self._of_dates(), *self._of_parties()]
        if "@" in self.circle:
            text = f"is a circle, not an epoch of its key: {self.circle.partition('@')[0]}"
            found.append(Problem(("circle",), text))
        if self.terms is not None and self.terms.to is not None:
            found.append(Problem(("terms", "to"), "is for one list: [lists]"))
        if found:
            raise Problems(found)

    def _of_dates(self) -> list[Problem]:
        found = []
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            found.append(Problem(("valid_until",), "is not after valid_from: never in force"))
        if self.confirmed is None:
            return found
        if self.kind != "pledge":
            found.append(Problem(("confirmed",), 'is for kind = "pledge"; others are confirmed'))
        elif not self.valid_from <= self.confirmed < (self.valid_until or FOREVER):
            found.append(Problem(("confirmed",), "is not between valid_from and valid_until"))
        return found

    def _of_parties(self) -> list[Problem]:
        found = []
        if len(self.parties) < 2:
            found.append(Problem(("parties",), "an agreement has at least two"))
        found += [
            Problem(("parties", name, "roles"), 'an "enforcer" is a country: it decides calls')
            for name, party in self.parties.items()
            if "enforcer" in party.roles and not is_country(name)
        ]
        for name, table in self.lists.items():
            owner = owner_of(name)
            if (wrong := self._no_party(owner, "owner")) is not None:
                found.append(Problem(("lists", name), f"its owner {wrong}"))
            for country in table.to or ():
                if (wrong := self._no_party(country, "enforcer")) is not None:
                    found.append(Problem(("lists", name, "to"), wrong))
                elif country == owner:
                    text = f"{owner} owns the list; what it does with it is its own policy"
                    found.append(Problem(("lists", name, "to"), text))
            if not found and not self.enforcers(name):
                found.append(Problem(("lists", name), 'no party is an "enforcer" of it'))
        if self.report is not None:
            found += [
                Problem(("report", "to"), wrong)
                for name in self.report.to or ()
                if (wrong := self._no_party(name)) is not None
            ]
        return found

    def _no_party(self, name: str, role: str = "") -> str | None:
        if name not in self.parties:
            return f'"{name}" is no party; parties: {", ".join(self.parties)}'
        if role and role not in self.parties[name].roles:
            return f'{name} is no "{role}" in [parties.{name}]'
        return None

    def enforcers(self, list_name: str) -> frozenset[str]:
        """Return the countries that enforce that list of the agreement."""
        named = self.lists[list_name].to
        all_ = {name for name, party in self.parties.items() if "enforcer" in party.roles}
        return frozenset(all_ if named is None else named) - {owner_of(list_name)}


@dataclass(frozen=True, slots=True)
class AgreementReading:
    """The contents of a folder of agreements.

    `errors` by file name: what is wrong with files that cannot be used. Of those that could be
    used before, the last good version is still in `agreements`.
    """

    agreements: Agreements = field(default_factory=Agreements)
    errors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class AgreementFolder:
    """The agreements of one folder, as they are now. `folder` None: there are none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._marks: dict[str, FileStamp] = {}
        self._good: dict[str, Agreement] = {}
        self.reading = AgreementReading()

    def start(self) -> Agreements:
        """Read all agreements for the first time. Raises ConfigInvalid with every error found."""
        self.look()
        if self.reading.errors:
            raise ConfigInvalid(
                tuple(one for errors in self.reading.errors.values() for one in errors)
            )
        return self.reading.agreements

    def look(self) -> bool:
        """Read changed files; return whether anything changed since the last look."""
        if self._folder is None:
            return False
        try:
            paths = toml_paths(self._folder, "[agreements] dir")
        except ConfigInvalid as error:
            before, errors = self.reading, {str(self._folder): error.errors}
            self.reading = AgreementReading(before.agreements, errors)
            return before != self.reading
        marks = {name: file_stamp(path) for name, path in paths.items()}
        known = self.reading.agreements.needed and str(self._folder) not in self.reading.errors
        if marks == self._marks and known:
            return False
        errors = {name: found for name, found in self.reading.errors.items() if name in paths}
        for name in paths:
            if marks[name] == self._marks.get(name):
                continue
            errors.pop(name, None)
            try:
                self._good[name] = read_agreement(paths[name])
            except ConfigInvalid as error:
                errors[name] = error.errors
        self._good = {name: self._good[name] for name in paths if name in self._good}
        self._marks = marks
        self.reading = AgreementReading(Agreements(tuple(self._good.values()), needed=True), errors)
        return True


def agreements_of(settings: EngineSettings) -> Agreements:
    """Return the agreements of the settings' folder. Raises ConfigInvalid."""
    return AgreementFolder(settings.agreements.folder()).start()


def read_agreement(path: Path) -> Agreement:
    """Return the agreement of a file. Raises ConfigInvalid with every error found in it."""
    mark = file_stamp(path)
    if mark[1] > FILE_BYTES_MAX:
        raise ConfigInvalid((f"{path}: {mark[1]} bytes; {FILE_BYTES_MAX} is the most",))
    tables = Tables()
    tables.lay(path)
    if tables.errors:
        raise ConfigInvalid(tuple(tables.errors))
    values, inherited = _completed(tables.values)
    read, problems = structured(_converter(), values, AgreementFile, {})
    # A problem of the terms is one of each list that takes them over; it is reported once.
    wrong_keys = {key for key, _ in problems}
    inherited |= {
        key for key in wrong_keys if key[:1] == ("lists",) and ("terms", *key[2:]) in wrong_keys
    }
    errors = [f"{path}: {dotted(key)}: {text}" for key, text in problems if key not in inherited]
    if not values.get("lists") and "report" not in values:
        errors.append(f"{path}: lists: is missing: it shares no list and reports nothing")
    if (wrong := checks.feed_name(path.stem)) is not None:
        errors.insert(0, f"{path}: an agreement {wrong}")
    if errors or read is None:
        raise ConfigInvalid(tuple(errors))
    return _agreement(path.stem, read)


def _completed(values: Mapping[str, Any]) -> tuple[dict[str, Any], set[tuple[str, ...]]]:
    """Return the values with each list's terms completed from `[terms]`, and those keys."""
    terms, lists = values.get("terms"), values.get("lists")
    if not isinstance(terms, dict) or not isinstance(lists, dict):
        return dict(values), set()
    whole = {name: terms | own if isinstance(own, dict) else own for name, own in lists.items()}
    inherited: set[tuple[str, ...]] = {
        ("lists", name, key)
        for name, own in lists.items()
        if isinstance(own, dict)
        for key in terms.keys() - own.keys()
    }
    return {**values, "lists": whole}, inherited


@cache
def _converter() -> Converter:
    converter = strict_converter()
    converter.register_structure_hook(Start, lambda value, _: Start(_moment(value, days=0)))
    converter.register_structure_hook(End, lambda value, _: End(_moment(value, days=1)))
    return converter


def _moment(value: Any, days: int) -> int:
    """Return seconds since the epoch; of a day alone, its beginning in UTC and `days` more."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"must say its time zone: {value.isoformat()}Z or +07:00")
        at_s, more_s = int(value.timestamp()), 0
    elif isinstance(value, date):
        begin = datetime(value.year, value.month, value.day, tzinfo=UTC)
        at_s, more_s = int(begin.timestamp()), days * 86_400
    else:
        wrong = f"must be a day or a time without quotation marks, not {shown(value)}"
        raise ValueError(wrong)  # noqa: TRY004 - a value in a file, as every other
    if not 0 <= at_s < _END_OF_TIME_S:
        raise ValueError(f"must be a time from 1970 to 9999, not {value.isoformat()}")
    return at_s + more_s if at_s + more_s < _END_OF_TIME_S else FOREVER


def _agreement(name: str, read: AgreementFile) -> Agreement:
    clauses = tuple(
        Clause(
            list=list_name,
            to=read.enforcers(list_name),
            terms=table.terms(),
            shares=Shared(table.shares),
            reference=table.reference,
        )
        for list_name, table in sorted(read.lists.items())
    )
    report = read.report
    return Agreement(
        id=name,
        title=read.title,
        kind=AgreementKind(read.kind),
        parties={
            party: Party(party, frozenset(map(PartyRole, table.roles)), table.contact)
            for party, table in read.parties.items()
        },
        clauses=clauses,
        circle=read.circle,
        valid_from_s=read.valid_from,
        valid_until_s=FOREVER if read.valid_until is None else read.valid_until,
        confirmed_s=FOREVER if read.confirmed is None else read.confirmed,
        response_target_s=seconds_of(read.response_target) or 0,
        reporting=None
        if report is None
        else Reporting(
            Every(report.every),
            report.due_days,
            tuple(read.parties) if report.to is None else report.to,
        ),
        texts=read.texts,
    )
