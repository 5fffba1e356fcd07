"""Rows of elements that have fields at paths: objects of a JSON array, or elements of XML. Pure.

A feed's `[columns]` gives each field's path ("caller.number"), in an array its place from 1. A row
is read whole or rejected: a field that is there twice, or is no text, is no field.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stream.core.model.entry import FIELDS
from stream.feeds.formats.json_objects import as_text
from stream.feeds.formats.rows import Collector, InputUnreadable, Wrong, range_text

Places = Mapping[str, str | int]
_DEFAULT: Places = {name: name for name in (*FIELDS, "number_to")}
ITSELF = "."
"""The path of an element's own text or number."""


class ElementRows:
    """Collects the rows of elements by the places of their fields."""

    def __init__(self, columns: Places) -> None:
        if columns and "number" not in columns:
            raise InputUnreadable(f"columns names {', '.join(columns)}: none is `number`")
        self.rows = Collector()
        self._places = {
            name: place if isinstance(place, int) else tuple(place.split("."))
            for name, place in (columns or _DEFAULT).items()
        }
        self._is_bare = not columns or columns["number"] == ITSELF

    def add(self, line: int, element: Any, original: str) -> None:
        """Add one decoded element, or reject it."""
        if isinstance(element, str | int | float) and not isinstance(element, bool):
            if self._is_bare:
                self.rows.add(line, original, as_text(element))
            else:
                self.rows.reject(line, Wrong.UNREADABLE, "a single value", original)
            return
        if not isinstance(element, Mapping | list):
            self.rows.reject(line, Wrong.UNREADABLE, "no object", original)
            return
        found: dict[str, str | None] = {}
        for name, place in self._places.items():
            value = _at(element, place)
            if value is not None and (
                not isinstance(value, str | int | float) or isinstance(value, bool)
            ):
                self.rows.reject(line, Wrong.UNREADABLE, f"{name} is no text or number", original)
                return
            found[name] = as_text(value)
        number = range_text(found.pop("number", None), found.pop("number_to", None))
        self.rows.add(
            line,
            original,
            number,
            category=found.get("category"),
            source=found.get("source"),
            reported_at=found.get("reported_at"),
            expires_at=found.get("expires_at"),
            confidence=found.get("confidence"),
        )


def _at(value: Any, place: int | Sequence[str]) -> Any:
    """Return what is at a place of an element; None: nothing."""
    if isinstance(place, int):
        return value[place - 1] if isinstance(value, list) and len(value) >= place else None
    if isinstance(value, Mapping) and (whole := ".".join(place)) in value:
        return value[whole]  # an element of XML has its paths as keys
    for key in place:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value
