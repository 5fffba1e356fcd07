"""Bring the pages' catalogues up to date with templates and code: `make catalogues`.

A new text is added without a translation, so pages show it in English until somebody writes one. A
text that is gone is left out, and its translation with it.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po, write_po

from stream.core.model.agreement import AgreementKind, AgreementState, Every, PartyRole, Shared
from stream.core.model.appeal import AppealState
from stream.core.model.decision import Action, Verdict
from stream.core.model.entry import Category
from stream.core.model.errors import FeedFault
from stream.edge.http import languages
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole
from stream.feeds.cleaning import Cleaned
from stream.feeds.formats.rows import Wrong
from stream.feeds.gate import GateReason
from stream.feeds.parse import Adjusted
from stream.insight.report.figure_catalogue import FIGURES
from stream.lists.store.store_codec import REBUILD, REKEY, Op
from stream.ops.monitor.dashboard import ProcessState
from stream.web.pages.agreements_pages import SHOWN

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = Path(languages.__file__).parent
TRANSLATED: Final = tuple(code for code in languages.LANGUAGES if code != languages.ENGLISH)
_KEYWORDS: Final = {"_": None, "gettext": None, "noted": None, "ngettext": (1, 2)}
_PLACES: Final = (
    ("stream/edge/http/pages", "*.html", "jinja2.ext:babel_extract"),
    ("stream/edge/http", "*.py", "python"),
    ("stream/edge/http/languages", "*.py", "python"),
    ("stream/web", "**/*.py", "python"),
)
_PLACEHOLDER: Final = re.compile(r"%\(\w+\)s|%%|\{\w+\}|</?\w+[^<>]*>|<|>|\"|&\w+;")
"""Parts of the English text that a translation keeps: values, markup, and special characters."""
HEADER: Final = """\
# Ringfence's pages: {language}.
#
# No native speaker has checked these texts yet. A text that is missing is shown in English: so are
# warnings before a change, where a translation is in doubt. `make catalogues` brings this file up
# to date; CONTRIBUTING.md says how to correct a text."""


def _codes() -> Iterator[str]:
    """Codes that pages show as words."""
    for kind in (AgreementKind, AgreementState, Every, PartyRole, Shared, AppealState, Verdict):
        yield from kind
    for more in (FeedFault, ClientRole, GateReason, Adjusted, Op, ProcessState):
        yield from more
    yield from (one.name.lower() for one in Action)
    yield from (one.label for one in Category)
    yield from (one.label for one in Wrong)
    yield from ("listed", "unconfirmed", "expired", "removed", "added", "changed", "unknown")
    yield from ("simulated", "started", "restarted", "pull", REBUILD, REKEY)
    yield from ("confidence_min", "countries_min", "agree_min", "simulate", "may_list")
    yield from ("categories", "action")


def texts() -> Catalog:
    """All texts of the pages, each with the files that have it."""
    found = Catalog(fuzzy=False)
    for folder, pattern, method in _PLACES:
        for path in sorted((ROOT / folder).glob(pattern)):
            place = str(path.relative_to(ROOT))
            options = {"trimmed": "true", "silent": "false"}
            for _, text, _, _ in extract_from_file(method, path, _KEYWORDS, options=options):
                found.add(text, locations=[(place, 0)])
    for code in _codes():
        found.add(code.replace("_", " "), locations=[("codes", 0)])
    for kind in Cleaned:
        found.add(kind.value, locations=[("stream/feeds/cleaning.py", 0)])
    for wrong_row in Wrong:
        found.add(wrong_row.value, locations=[("stream/feeds/formats/rows.py", 0)])
    for key in SHOWN:
        found.add(FIGURES[key].label, locations=[("stream/insight/report/figures.toml", 0)])
    for status in sorted({ProblemError(kind, "").status for kind in ProblemKind}):
        found.add(HTTPStatus(status).phrase, locations=[("stream/edge/http/problems.py", 0)])
    return found


def read(code: str) -> Catalog:
    """The catalogue of a language, as it is kept."""
    return read_po(BytesIO((FOLDER / f"{code}.po").read_bytes()), locale=code)


def renewed(code: str, wanted: Catalog) -> bytes:
    """The catalogue's file with exactly the texts of `wanted`; translations that fit are kept."""
    kept = read(code) if (FOLDER / f"{code}.po").exists() else Catalog()
    made = Catalog(
        locale=code,
        project="Ringfence",
        version="pages",
        header_comment=HEADER.format(language=languages.LANGUAGES[code]),
        fuzzy=False,
    )
    for message in wanted:
        if not message.id:
            continue
        old = kept.get(message.id)
        string = old.string if old is not None and old.string else message.string
        made.add(message.id, string, locations=message.locations)
    out = BytesIO()
    write_po(out, made, width=100, sort_by_file=True, include_lineno=False, omit_header=False)
    # Dates in the header would differ with each run.
    lines = out.getvalue().decode().splitlines(keepends=True)
    dated = ('"POT-', '"PO-', '"Generated-By', '"Last-Translator', '"Language-Team', '"Report-')
    return "".join(line for line in lines if not line.startswith(dated)).encode()


def wrong(code: str) -> Iterator[str]:
    """Return the faults in the translations of a language."""
    for message in read(code):
        if not message.id or not message.string:
            continue
        english = _forms(message.id)[-1]
        for string in _forms(message.string):
            if string and _marks(string) != _marks(english):
                yield f"{code}: {english!r}: {_marks(english)} are not in {string!r}"
            if string != string.strip() or "\n" in string:
                yield f"{code}: {english!r}: blanks around it, or several lines"


def _forms(text: str | Sequence[str]) -> Sequence[str]:
    """The plural forms of a text; English has two."""
    return (text,) if isinstance(text, str) else text


def _marks(text: str) -> Counter[str]:
    return Counter(_PLACEHOLDER.findall(text))


def main() -> int:
    """Write all catalogues again, and print how many texts each one lacks."""
    wanted = texts()
    for code in TRANSLATED:
        (FOLDER / f"{code}.po").write_bytes(renewed(code, wanted))
        lacks = sum(not any(_forms(one.string or "")) for one in read(code) if one.id)
        print(f"{code}: {len(wanted) - lacks} of {len(wanted)} texts")  # noqa: T201 - its output
    faults = [fault for code in TRANSLATED for fault in wrong(code)]
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
