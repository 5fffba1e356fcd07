"""The golden samples of feed formats, for the golden test, the property tests and the fuzz target.

`tests/golden/feeds/<format>/<case>/`: the input (`input.*`, or a folder `input`), what must come of
it (`expected.json`), where the sample is from (`source.txt`), and what its feed says (`feed.toml`).
"""

import json
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.core.model.entry import Category
from stream.core.model.moments import rfc3339
from stream.feeds.formats.format_words import words_of
from stream.feeds.formats.rows import Format, ReadOptions, Rows
from stream.feeds.open import FORMATS, has_rows, read_rows
from stream.feeds.parse import Defaults, Parser
from stream.feeds.value_parsers import Dates

GOLDEN = Path(__file__).parents[1] / "golden" / "feeds"
NOW_S = 1_795_564_800  # 2026-11-25T00:00:00Z
DEFAULTS: dict[str, Any] = {"source": "feed", "reported_at_s": NOW_S, "now_s": NOW_S}
DEFAULTS |= {"expires_after_s": 10 * 86_400, "sources": "both", "confidence": 50}


@dataclass(frozen=True, slots=True)
class Case:
    """One sample."""

    kind: Format
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.folder.name}"

    @property
    def path(self) -> Path:
        (found,) = self.folder.glob("input*")
        return found

    @property
    def options(self) -> ReadOptions:
        return ReadOptions(**self._feed.get("read", {}))

    @property
    def defaults(self) -> Defaults:
        told = DEFAULTS | self._feed.get("defaults", {})
        words = {word: Category[name.upper()] for word, name in told.get("categories", {}).items()}
        dates = Dates(**told.get("dates", {}))
        return Defaults(**{**told, "categories": words, "dates": dates})

    @property
    def expected(self) -> Any:
        return json.loads((self.folder / "expected.json").read_text())

    @property
    def _feed(self) -> dict[str, Any]:
        path = self.folder / "feed.toml"
        return tomllib.loads(path.read_text()) if path.exists() else {}


def cases(*, rows: bool) -> list[Case]:
    """All samples of formats that have rows, or of those that have none."""
    return [
        Case(kind, folder)
        for kind in FORMATS
        if has_rows(kind) is rows
        for folder in sorted((GOLDEN / kind).iterdir())
    ]


def rows_of(case: Case) -> list[Rows]:
    """The rows of a sample."""
    return list(read_rows(case.path, case.kind, options=case.options))


def meaning_of(case: Case) -> dict[str, Any]:
    """The meaning of a sample, as in `expected.json`."""
    parser = Parser(case.defaults, words_of(case.kind))
    entries, rejected, passed_over, adjusted = [], [], 0, Counter[str]()
    for rows in rows_of(case):
        parsed = parser.parse(rows)
        passed_over += parsed.passed_over
        adjusted.update({kind.value: count for kind, count in parsed.adjusted.items()})
        rejected += [[row.line, row.wrong.label, row.detail] for row in parsed.rejected]
        for at in range(len(parsed)):
            entry = {"number": parsed.numbers[at].decode()}
            entry["source"] = parser.sources[parsed.source[at]]
            if parsed.removed[at]:
                entries.append({**entry, "removed": True})
                continue
            entries.append(
                {
                    **entry,
                    "category": Category(int(parsed.category[at])).label,
                    "reported_at": rfc3339(int(parsed.reported_at[at])),
                    "expires_at": rfc3339(int(parsed.expires_at[at])),
                    "confidence": int(parsed.confidence[at]),
                }
            )
    found = {"entries": entries, "rejected": rejected, "passed_over": passed_over}
    return {**found, "adjusted": dict(adjusted)}
