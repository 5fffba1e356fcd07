"""The complaints that the US Federal Trade Commission publishes each working day, as CSV.

Layout: github.com/haumacher/phoneblock, docs/plans/2026-03-08-ftc-dnc-import-design.md. Numbers are
bare: ten digits of the US. Each row is one person's complaint, which was not verified, and callers
forge numbers: give the feed a low `confidence`. `Created_Date` has no zone and is read as UTC. It
is Washington's, so reports seem up to five hours older than they are, never newer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

from stream.core.model.entry import Category
from stream.feeds.formats import csv
from stream.feeds.formats.rows import InputUnreadable, Lines, Rows

COLUMNS: Mapping[str, str | int] = {
    "number": "Company_Phone_Number",
    "reported_at": "Created_Date",
    "category": "Subject",
    "confidence": "Recorded_Message_Or_Robocall",  # held here until the subject was looked at
}
WORDS: Mapping[str, Category] = {
    "Calls pretending to be government, businesses, or family and friends": Category.IMPERSONATION,
    "Charities": Category.SPAM,
    "Computer & technical support": Category.IMPERSONATION,
    "Dropped call or no message": Category.WANGIRI,
    "Energy, solar, & utilities": Category.SPAM,
    "Home improvement & cleaning": Category.SPAM,
    "Home security & alarms": Category.SPAM,
    "Lotteries, prizes & sweepstakes": Category.GAMBLING,
    "Medical & prescriptions": Category.SPAM,
    "Reducing your debt (credit cards, mortgage, student loans)": Category.LOAN,
    "Vacation & timeshares": Category.SPAM,
    "Warranties & protection plans": Category.SPAM,
    "Work from home & other ways to make money": Category.JOB,
}
"""Subjects that name a category. Other rows get `other`, or `robocall`."""
_SUBJECTS = frozenset(" ".join(subject.casefold().split()) for subject in WORDS)


def read(chunks: Iterable[Lines]) -> Iterator[Rows]:
    """Yield the rows of a day's file. Raises InputUnreadable for another header."""
    source = iter(chunks)
    first = csv.head(source)  # and put back below: the reader of CSV needs the header again
    if first is None:
        raise InputUnreadable("the file is empty")
    shape = csv.shape_of(first)
    if "Company_Phone_Number" not in first[shape.skipped - 1]:
        raise InputUnreadable(
            "not the FTC's file: its first line begins with Company_Phone_Number,Created_Date"
        )
    for rows in csv.read(chain([first], source), None, COLUMNS):
        robocalls = rows.confidence or ()
        subjects = rows.category or ()
        yield replace(
            rows,
            number=[_whole(text) for text in rows.number],
            category=[
                _subject(subject, robocall)
                for subject, robocall in zip(subjects, robocalls, strict=True)
            ],
            confidence=None,
        )


def _whole(text: str | None) -> str | None:
    bare = (text or "").strip()
    return f"+1{bare}" if len(bare) == 10 and bare.isascii() and bare.isdigit() else text


def _subject(subject: str | None, robocall: str | None) -> str:
    if " ".join((subject or "").casefold().split()) in _SUBJECTS:
        return subject or ""
    return "robocall" if (robocall or "").strip().upper() == "Y" else "other"
