"""Try a proposal on its file: count good rows, and find the region of national numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

import phonenumbers

from stream.core.model.entry import FIELDS
from stream.core.numbers.number import Kind, parse
from stream.feeds.cleaning import CleanedRows, bare_number
from stream.feeds.detection.lookalikes import DateOrder, style_of
from stream.feeds.detection.proposal import Choice, FeedProposal, FeedQuestion, OperatorAnswers
from stream.feeds.formats.format_words import words_of
from stream.feeds.formats.rows import InputUnreadable, RejectedRow, Rows, Wrong
from stream.feeds.open import has_rows, read_rows
from stream.feeds.parse import Defaults, Parser
from stream.feeds.value_parsers import Dates

ROWS_MAX = 5_000
"""Rows that a candidate is tried on."""
REJECTED_MAX = 100
"""Rejected rows kept, for a person to look at."""
_NUMBERS = 200
_TIMES: Final = ("reported_at", "expires_at")
_ORDERS: Final[dict[DateOrder, str]] = {"day-month": "day first", "month-day": "month first"}
_CLOSE = 0.9
"""A region that reads this share of the best one's numbers is as likely."""


@dataclass(frozen=True, slots=True)
class _Try:
    """A proposal tried in a region: its first numbers, and the count of assigned ones."""

    proposal: FeedProposal
    numbers: tuple[bytes, ...]
    assigned: int

    @property
    def region(self) -> str:
        return self.proposal.region or ""

    @property
    def own(self) -> int:
        """The count of its numbers that belong to the region itself."""
        code = f"+{phonenumbers.country_code_for_region(self.region)}".encode()
        return sum(number.startswith(code) for number in self.numbers)


def assigned_share(regions: Sequence[str]) -> Callable[[Sequence[str]], float]:
    """Return a function for the share of assigned numbers, in the region that reads most texts."""

    def share(texts: Sequence[str]) -> float:
        tried_on = [bare_number(text) for text in texts[:_NUMBERS]]
        best = max(
            (sum(_reads(text, region) for text in tried_on) for region in (None, *regions)),
            default=0,
        )
        return best / len(tried_on) if tried_on else 0.0

    return share


def _reads(text: str, region: str | None) -> bool:
    found = parse(text, region)
    return found.kind is Kind.E164 and _is_assigned(found.text)


def _is_assigned(number: str) -> bool:
    """Return whether a numbering plan assigns a number. A prefix is no number."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def tried(path: Path, one: FeedProposal, asked: OperatorAnswers, now_s: int) -> FeedProposal:
    """Return a candidate with figures, examples and region of its file, or with a question."""
    if one.question is not None or not has_rows(one.kind):
        return one
    try:
        chunks = _some(path, one)
    except InputUnreadable as error:
        text = str(error).removeprefix(f"{path}: ")
        return replace(one, sureness=10, question=FeedQuestion(f"it cannot be read so: {text}"))
    texts = {name: _texts_of(chunks, name) for name in _TIMES}
    dates, of_dates = dates_in(texts, asked, one.options.columns)
    one = replace(one, dates=dates)
    regions = asked.regions
    if len(regions) > 1:
        regions = tuple(dict.fromkeys((*regions, *one.languages)))
    tries = [_with_region(one, chunks, region, now_s) for region in (None, *regions)]
    best = max(tries, key=lambda tried: tried.proposal.good).proposal
    if not best.good:
        text = f"none of its {best.rows:,} rows has a number" if best.rows else "it has no rows"
        wrong = ", ".join(f"{label} {count:,}" for label, count in best.wrong.items())
        asks = FeedQuestion(text + f" ({wrong})" * bool(wrong))
        return replace(
            one,
            sureness=10,
            question=asks,
            rows=best.rows,
            wrong=best.wrong,
            rejected=best.rejected,
        )
    chosen = _chosen(one, tries, regions)
    rows, good = chosen.rows, chosen.good
    sureness = one.sureness * (rows + good) // (2 * rows)
    if of_dates is not None:  # the order was a guess, to count good rows
        chosen = replace(chosen, dates=without_guess(dates, of_dates))
    return replace(chosen, sureness=sureness, question=chosen.question or of_dates)


def dates_in(
    texts: Mapping[str, Sequence[str]], asked: OperatorAnswers, columns: Mapping[str, str | int]
) -> tuple[Dates, FeedQuestion | None]:
    """Return the orders of days in the columns of times, and a question where one is not clear.

    `texts` are those of each field, `columns` the fields' places. A wrong order moves a report by
    up to eleven months, and with it the day on which a block ends. `--dates` answers for both
    columns, but not for the second where the first is clear by itself.
    """
    begins, ends = (style_of(texts.get(name, ())) for name in _TIMES)
    known = [style for style in (begins, ends) if style is not None]
    if not known:
        return Dates(), None
    is_only = not texts.get("reported_at")
    order: DateOrder = "iso" if begins is None else begins.dates
    if is_only and ends is not None:
        order = ends.dates
    order = asked.dates or order
    for_both = asked.dates if begins is None or begins.unclear else ""
    last = asked.expires_dates or for_both or (ends.dates if ends is not None else order)
    buddhist = any(style.era == "buddhist" for style in known)
    dates = Dates(order, buddhist, expires="" if last == order else last)
    asks = None
    if begins is not None and not asked.dates:
        asks = _question_of_dates(dates, "reported_at", columns, begins.unclear, "--dates")
    if asks is None and ends is not None and not (for_both or asked.expires_dates):
        option = "--dates" if is_only else "--expires-dates"
        asks = _question_of_dates(dates, "expires_at", columns, ends.unclear, option)
    return dates, asks


def without_guess(dates: Dates, asked: FeedQuestion) -> Dates:
    """Return the spelling without the order that a question asks for."""
    return replace(dates, order="iso" if asked.option == "--dates" else dates.order, expires="")


def _texts_of(chunks: Sequence[Rows], field: str) -> list[str]:
    columns = (getattr(chunk, field) for chunk in chunks)
    return [bare for column in columns for text in column or () if (bare := (text or "").strip())]


def _question_of_dates(
    dates: Dates, field: str, columns: Mapping[str, str | int], unclear: Sequence[str], option: str
) -> FeedQuestion | None:
    """Return the question which of two days the first text is; None: none can be read."""
    for text in unclear:
        read = {order: _day(dates, order, text) for order in _ORDERS}
        if all(read.values()):
            shown = f"column {columns.get(field, field)!r}: {text!r}"
            choices = tuple(
                Choice(order, f"{_ORDERS[order]}: {day}") for order, day in read.items()
            )
            return FeedQuestion(f"{shown} is {' or '.join(read.values())}", option, choices)
    return None


def _day(dates: Dates, order: DateOrder, text: str) -> str:
    """Return the day that a text is in an order; "": none that can be read."""
    seconds = Dates(order, dates.buddhist).read(text)
    return "" if isinstance(seconds, Wrong) else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _chosen(one: FeedProposal, tries: Sequence[_Try], regions: Sequence[str]) -> FeedProposal:
    """Return the proposal in the region of its numbers, or with a question about the region.

    `regions` begin with our own country. 0912345678 is a number of Thailand and of Viet Nam, so
    the file's language decides between regions, or a person. Another country than ours is never
    chosen without its language: seven digits of anything are a number of Brunei.
    """
    most = max(tried.proposal.good for tried in tries)
    if tries[0].proposal.good == most:
        return tries[0].proposal  # all are written in full
    assigned = max(tried.assigned for tried in tries if tried.region)
    able = [
        tried
        for tried in tries
        if tried.region
        and tried.proposal.good >= _CLOSE * most
        and tried.assigned >= _CLOSE * assigned
    ]
    # Where the region that reads most rows is not that of assigned numbers, these count: a text
    # with two numbers in it is one long number elsewhere.
    able = able or [tried for tried in tries if tried.region and tried.assigned >= assigned]
    # 13812345678 is China's, or America's without its +: who dials it at home is likelier.
    own = [tried for tried in able if tried.own >= _CLOSE * len(tried.numbers)]
    likely = {tried.region: tried for tried in own or able}
    spoken = [region for region in one.languages if region in likely]
    said = spoken[0] if len(spoken) == 1 else None
    if len({tried.numbers for tried in able}) == 1:
        said = said or next(iter(likely))  # whichever it is, the numbers are the same
    home = regions[0] if regions else ""
    if said is None and not one.languages and [*likely] == [home]:
        said = home  # no other region dials so
    whole = tries[0].proposal
    if said is None and 2 * whole.good >= most:
        text = f"{most - whole.good:,} rows have a national number: `region` would say whose"
        return replace(whole, notes=(*whole.notes, text))
    if said is None:
        choices = tuple(Choice(region, _shown(tried)) for region, tried in likely.items())
        text = "whose national numbers these are cannot be told"
        first = next(iter(likely.values())).proposal
        return replace(first, region=None, question=FeedQuestion(text, "--region", choices))
    return likely[said].proposal


def _shown(tried: _Try) -> str:
    numbers = ", ".join(number.decode() for number in tried.numbers[:2])
    return f"{tried.region} ({numbers})"


def _some(path: Path, one: FeedProposal) -> list[Rows]:
    chunks, count = [], 0
    for rows in islice(read_rows(path, one.kind, options=one.options), 100):
        chunks.append(rows)
        count += len(rows)
        if count >= ROWS_MAX:
            break
    return chunks


def _with_region(one: FeedProposal, chunks: Sequence[Rows], region: str | None, now_s: int) -> _Try:
    """Return the candidate, tried in a region."""
    known = Defaults("detect", now_s, region, unknown_category="other", dates=one.dates)
    parser = Parser(known, words_of(one.kind))
    strict = Parser(replace(known, unknown_category="reject"), words_of(one.kind))
    rows = good = 0
    wrong: dict[str, int] = {}
    words: dict[str, None] = {}
    numbers: list[bytes] = []
    examples: list[dict[str, str]] = []
    cleaned, rejected = CleanedRows(), list[RejectedRow]()
    for chunk in chunks:
        parsed = parser.parse(chunk)
        rows += len(chunk) + len(chunk.unreadable)
        good += len(chunk) + len(chunk.unreadable) - len(parsed.rejected)
        numbers += parsed.numbers[: max(0, _NUMBERS - len(numbers))].tolist()
        cleaned.update(parsed.cleaned)
        rejected += parsed.rejected[: REJECTED_MAX - len(rejected)]
        for row in parsed.rejected:
            wrong[row.wrong.label] = wrong.get(row.wrong.label, 0) + 1
        for row in strict.parse(chunk).rejected:
            if row.wrong is Wrong.BAD_CATEGORY and len(words) < 50:
                words.setdefault(row.detail)
        bad = {row.line for row in parsed.rejected}
        for at, line in enumerate(chunk.lines):
            if len(examples) == 3:
                break
            if line not in bad:
                examples.append(_example(chunk, at))
    told = replace(
        one,
        region=region,
        rows=rows,
        good=good,
        examples=tuple(examples),
        unknown_words=tuple(words),
        wrong=wrong,
        cleaned=cleaned,
        rejected=tuple(rejected),
    )
    assigned = sum(_is_assigned(number.decode()) for number in numbers)
    return _Try(told, tuple(numbers), assigned)


def _example(rows: Rows, at: int) -> dict[str, str]:
    texts = {name: getattr(rows, name) for name in FIELDS}
    return {name: str(held[at]) for name, held in texts.items() if held is not None and held[at]}
