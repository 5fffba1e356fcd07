"""Texts that commands print, in the reader's language on pages.

A command's sentence reaches a page as JSON of another process, or from Redis, and is English there.
Scripts and people of several countries read the same. It is recognised here by its form, a sentence
with `%(name)s` for its values, and shown by the catalogue. A sentence without a form is shown as it
came. If a sentence names an option of the shell, the page has words of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from markupsafe import Markup

from stream.edge.http.languages import gettext, noted, reason, separated
from stream.feeds.formats.rows import Wrong
from stream.feeds.gate import GateReason

CHARS_MAX: Final = 2_000
"""Longer texts are shown as they came. Our sentences quote at most some hundred characters."""
_DEPTH_MAX: Final = 3
"""A sentence may have another one as its value: a reason after what it explains."""
_COUNTS: Final = frozenset({"count", "all", "place", "seconds", "slot", "step"})
"""Values that are whole numbers. A form does not fit if another text is in their place."""
_REASONS: Final = frozenset(one.value for one in GateReason)
_SENTENCES: Final = frozenset({"why", "what", "column", "header", "kind", "standing", "step"})
"""Values that may be sentences or words of ours."""

_OF_THE_GATE: Final = (
    noted("made %(seconds)s s before the accepted version"),
    noted("%(who)s handed it in"),
    noted("all of %(count)s entries are over"),
    noted("no row at all"),
    noted("%(count)s of %(all)s rows were rejected"),
    noted("%(count)s of %(all)s numbers would go"),
    noted("%(count)s numbers would come to %(all)s"),
    noted("%(count)s rows"),
    noted("its columns are those of call records"),
    noted("its column %(name)s is named as %(what)s"),
    noted("%(count)s of %(all)s are days"),
    noted("%(count)s of %(all)s could be dates or times"),
    noted("%(count)s of %(all)s follow another by %(step)s or less"),
    noted("%(count)s of %(all)s are fractions"),
    noted("%(count)s of %(all)s are round sums"),
    noted("%(agreement)s ended at %(time)s, and none shares %(list)s with %(country)s any more"),
)
_OF_COLUMNS: Final = (
    noted("the number of who reported or was called"),
    noted("a date or time"),
    noted("an id, a case or a place in a list"),
    noted("an account, a card or an identity document"),
    noted("an amount or a count"),
    noted("a place or an address"),
    noted("its name says %(what)s"),
    noted("its texts look like dates: %(why)s"),
    noted("its texts look like ids: %(why)s"),
    noted("its texts look like amounts: %(why)s"),
    noted("everybody who calls is in it"),
    noted("column %(place)s"),
)
_OF_QUESTIONS: Final = (
    noted("ranges, and a column of single numbers: one of them is to block"),
    noted("calls from one number to another, or ranges: for ranges, name number_to in [columns]"),
    noted(
        "a spreadsheet wrote its numbers in scientific notation and lost digits: format the column "
        "as text there and export it again"
    ),
    noted("what stands there looks like no telephone numbers"),
    noted("more than one column may be the number to block"),
    noted("the column that is named so holds something else"),
    noted("nothing says that these are telephone numbers"),
    noted("no column looks like the numbers to block"),
    noted("none of its %(count)s rows has a number"),
    noted("none of its %(count)s rows has a number (%(reasons)s)"),
    noted("it has no rows"),
    noted("it cannot be read so: %(why)s"),
    noted("column %(name)s: %(text)s is %(one)s or %(other)s"),
    noted("whose national numbers these are cannot be told"),
    noted("more than one sheet may have the numbers to block"),
    noted("more than one array may have the numbers to block"),
    noted("day first: %(day)s"),
    noted("month first: %(day)s"),
)
_OF_FILES: Final = (
    noted("a workbook: %(count)s columns, %(header)s"),
    noted("a workbook: %(count)s columns in the sheet %(sheet)s, %(header)s"),
    noted("%(count)s columns between %(mark)s, %(header)s"),
    noted("no header"),
    noted("a header"),
    noted("a header of %(count)s lines"),
    noted("a header below %(count)s lines of title"),
    noted("no header below %(count)s lines of title"),
    noted("a header of %(count)s lines below %(all)s lines of title"),
    noted("one number a line"),
    noted("one JSON object a line"),
    noted("a JSON array"),
    noted("a JSON array at %(path)s"),
    noted("JSON members"),
    noted("JSON members at %(path)s"),
    noted("XML elements %(path)s"),
    noted("the header of the FTC's complaints"),
    noted("the header of a pybloom-live filter, of this very size"),
    noted("its first line says so"),
    noted("objects of STIX 2.1"),
    noted("numbers with votes, as PhoneBlock's API answers"),
    noted("a MISP event"),
    noted("not the number: %(column)s: %(why)s"),
    noted("you said that %(column)s is the number; %(why)s"),
    noted("days like %(text)s cannot be read: reports get the file's time"),
    noted("there is no list %(list)s yet; the first version makes it"),
    noted("the list store cannot be asked (%(why)s)"),
)
_OF_UNREADABLE: Final = (
    noted("no column is called number (or phone, msisdn, ...)"),
    noted("the file is empty"),
    noted("the file is %(what)s"),
    noted("a damaged workbook: open it, save it again, or export it as CSV"),
    noted("a PDF document: ask for the list as CSV; what is copied out of a PDF loses digits"),
    noted("an RTF document: save its numbers as a text file, one a line"),
    noted("an Office document: save its numbers as a text file, one a line"),
    noted("an OpenDocument file: save its numbers as a text file, one a line"),
    noted("a picture: ask for the list as CSV"),
    noted("a 7-Zip archive: unpack it first"),
    noted("a RAR archive: unpack it first"),
    noted("contact cards: export the numbers as CSV"),
    noted("an SQLite database: export the table of numbers as CSV"),
    noted("a Parquet file: export the column of numbers as CSV"),
    noted("an Excel workbook (.xls): open it and export the sheet of numbers as CSV (UTF-8)"),
    noted("an Excel workbook in XML: open it and export the sheet of numbers as CSV (UTF-8)"),
    noted(
        "a file of an old Office program (.xls, .doc): if it is a spreadsheet, open it and export "
        "the sheet of numbers as CSV (UTF-8)"
    ),
    noted(
        "a web page: a login page, or a table that only calls itself .xls; log in, or open it and "
        "export the sheet of numbers as CSV (UTF-8)"
    ),
)
_OF_PROCESSES: Final = (
    noted("connection refused"),
    noted("does not answer within %(seconds)s s"),
    noted("answers %(status)s to /metrics: is this ours?"),
    noted("%(why)s: is this ours?"),
    noted("a process of another deployment answers there"),
    noted("it is being started"),
    noted("it is being stopped"),
    noted("it died (%(how)s) and restarts"),
    noted("worker %(slot)s: %(what)s"),
    noted("the kernels are being compiled or loaded"),
    noted("the lists are being loaded"),
    noted("the lists are not loaded yet"),
    noted("the lists are not there: the list store does not answer"),
    noted("the lists are not loaded, or Kafka does not answer yet"),
    noted("Kafka does not answer yet"),
    noted("the list store does not answer yet"),
    noted("Kafka has acknowledged nothing for %(seconds)s s"),
    noted("no partitions are assigned"),
    noted("%(name)s: no partitions are assigned"),
    noted("%(name)s: not tried yet"),
    noted("%(name)s: has expired"),
    noted("the proxies' Redis does not answer"),
    noted("the keys are being rebuilt"),
    noted("decisions are not counted yet"),
    noted("calls wait for a schema: %(why)s"),
)
_OF_NUMBERS: Final = (
    noted("%(topic)s cannot be read: %(why)s"),
    noted("Kafka at %(where)s does not answer"),
    noted("Kafka at %(where)s takes too long"),
    noted("the proxies' Redis cannot be asked: %(why)s"),
    noted("no sink has written here (bl:meta is not there)"),
)
_OF_TRIALS: Final = (
    noted("there is no %(kind)s %(name)s here: it counts once there is"),
    noted("the settings say %(standing)s too by now: the %(step)s changes nothing"),
    noted("the settings say %(standing)s; the %(step)s overrides them"),
    noted("the list store has no such list"),
    noted("it may only be observed: in force it would block no call"),
    noted("it blocks no call yet: an agreement on it is on trial"),
    *(noted("trial"), noted("force"), noted("promotion"), noted("demotion")),
    *(noted("list"), noted("agreement"), noted("rule")),
)
_ON_THE_PAGE: Final = {
    Wrong.DATE.value: noted(
        "a date where the number should be: another column has the numbers; choose it above"
    ),
    Wrong.NO_COUNTRY.value: noted(
        "a national number, or an international one without its +: choose its country above, or "
        "write +"
    ),
    Wrong.BAD_DATE.value: noted(
        "not a time: write 2026-01-31, 2026-01-31T12:00:00Z or seconds since 1970; 01/02/2026 can "
        "be two days: choose above which, and whose years"
    ),
    "%(why)s in %(line)s: call the column of the numbers `number`, or name the columns: [columns] "
    "in the feed's file": noted("%(why)s in %(line)s: choose the columns below"),
    "a feed's own file: give the file that the partner sends, and the feed's name: `ringfence "
    "feeds check FILE --feed NAME`": noted("the settings of a feed: choose the partner's file"),
    "a %(kind)s file: unpack it first; a feed unpacks gzip, zstd, bzip2 and xz by itself": noted(
        "a %(kind)s file: unpack it first"
    ),
    "an xz file: unpack it first; a feed unpacks gzip, zstd, bzip2 and xz by itself": noted(
        "an xz file: unpack it first"
    ),
    "the file: there is no manifest.json: not the folder of a feed. A list that is packed has to "
    "be unpacked first": noted("an archive: unpack it, and choose the file with the numbers"),
    "call records, and no list: `ringfence dialects detect` reads them": noted(
        "call records, and no list"
    ),
    "%(count)s rows have a national number: `region` would say whose": noted(
        "%(count)s rows have a national number: choose the country below"
    ),
    "no end dates: entries stay until the list drops them (expires_from)": noted(
        "no end dates: entries stay until the list drops them"
    ),
    "the decisions of that time could not be read in %(seconds)s s: `ringfence simulate list` "
    "takes its time": noted(
        "the decisions of that time could not be read in %(seconds)s s: `ringfence simulate list` "
        "takes its time"
    ),
}
"""Sentences that the page says otherwise, in English too: its reader has no shell."""


@dataclass(frozen=True, slots=True)
class PrintedForm:
    """One sentence as it is printed: texts between its values, their names, and the page's own."""

    texts: tuple[str, ...]
    names: tuple[str, ...]
    shown: str

    @classmethod
    def of(cls, printed: str, shown: str) -> "PrintedForm":
        """Return the form of a sentence with `%(name)s` for each value."""
        first, *rest = printed.split("%(")
        pairs = [one.partition(")s")[::2] for one in rest]
        return cls((first, *(text for _, text in pairs)), tuple(name for name, _ in pairs), shown)

    def values(self, text: str) -> dict[str, str] | None:
        """Return the values in a text; None: it is another sentence. Linear in its length.

        Each value ends where the text after it comes first.
        """
        first, last, at = self.texts[0], self.texts[-1], len(self.texts[0])
        end = len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return None
        found: dict[str, str] = {}
        for name, behind in zip(self.names, (*self.texts[1:-1], None), strict=False):
            upto = end if behind is None else text.find(behind, at, end)
            if upto <= at:
                return None
            found[name], at = text[at:upto], upto + len(behind or "")
        counts = (found[name].replace(",", "") for name in _COUNTS & found.keys())
        return found if all(one.isascii() and one.isdigit() for one in counts) else None


@cache
def _whole() -> Mapping[str, str]:
    """Return the sentences without values, and what the page says for each."""
    return {printed: shown for printed, shown in _sentences() if "%(" not in printed}


@cache
def _forms() -> tuple[PrintedForm, ...]:
    """Return the sentences with values; those with most text of their own are tried first.

    A sentence that begins with a value may be any name's, so it comes last.
    """
    made = [PrintedForm.of(text, shown) for text, shown in _sentences() if "%(" in text]
    return tuple(sorted(made, key=lambda one: (not one.texts[0], -sum(map(len, one.texts)))))


def _sentences() -> Iterator[tuple[str, str]]:
    known = (*_OF_THE_GATE, *_OF_COLUMNS, *_OF_QUESTIONS, *_OF_FILES, *_OF_UNREADABLE)
    more = (*_OF_PROCESSES, *_OF_NUMBERS, *_OF_TRIALS)
    yield from ((text, text) for text in (*known, *more))
    yield from _ON_THE_PAGE.items()


def form_of(text: str) -> PrintedForm | None:
    """Return the form that a printed text has; None: it has none, and stays English."""
    if text in _whole():
        return PrintedForm((text,), (), _whole()[text])
    if len(text) > CHARS_MAX:
        return None
    return next((form for form in _forms() if form.values(text) is not None), None)


def printed(text: str, depth: int = 0) -> str:
    """Return a text that a command printed in the reader's language; English where it is unknown.

    A text without a form may be in the catalogue as it is.
    """
    form = form_of(text) if text else None
    if form is None:
        return gettext(text) if text else ""
    values = form.values(text) or {}
    for name, value in values.items():
        if name in _COUNTS:
            values[name] = separated(value)
        elif name in _SENTENCES and depth < _DEPTH_MAX:
            values[name] = printed(value, depth + 1)
    return gettext(form.shown, **values)


def finding(text: str) -> Markup | str:
    """Return a finding of the gate, `shrunk: 40 of 50 numbers would go`, with the reason as words.

    So it is kept in Redis, and so the command prints it.
    """
    code, _, detail = text.partition(": ")
    if code not in _REASONS:
        return printed(text)
    shown = reason(code, begins=True)
    return Markup("{}: {}").format(shown, printed(detail)) if detail else shown
