"""The forms in which the blocklist is given: JSON, plain text, tables that Kamailio loads. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from stream.edge.http.blocklist import Item

_encode = msgspec.json.Encoder().encode


class Form(StrEnum):
    """A form. The tables for Kamailio are files of its db_text module, and always whole."""

    JSON = "json"
    TEXT = "text"
    HTABLE = "kamailio-htable"
    MTREE = "kamailio-mtree"


MEDIA_TYPE: Final = {
    Form.JSON: "application/json",
    Form.TEXT: "text/plain",
    Form.HTABLE: "text/plain",
    Form.MTREE: "text/plain",
}
WHOLE_ONLY: Final = frozenset({Form.HTABLE, Form.MTREE})
_HTABLE: Final = b"key_name(string) key_type(int) value_type(int) key_value(string) expires(int)\n"
_MTREE: Final = b"tprefix(string) tvalue(string)\n"


def head(form: Form, cursor: str, *, full: bool) -> bytes:
    """What comes before the items."""
    match form:
        case Form.JSON:
            start = {"full": full, "cursor": cursor}
            return _encode(start)[:-1] + b',"items":['
        case Form.TEXT:
            return f"# cursor {cursor}\n# {'all' if full else 'changes'}\n".encode()
        case Form.HTABLE:
            return _HTABLE
        case Form.MTREE:
            return _MTREE


def portion(form: Form, items: Iterable[Item], *, first: bool) -> bytes:
    """Some items; `first`: none came before."""
    match form:
        case Form.JSON:
            texts = [_encode(_object(item)) for item in items]
            return (b"" if first or not texts else b",") + b",".join(texts)
        case Form.TEXT:
            lines = (f"{'!' if item.why is None else ''}{item.text}\n" for item in items)
        case Form.HTABLE:
            lines = (
                f"{item.text}:0:0:{_value(item)}:{item.expires_at_s}\n"
                for item in items
                if not item.text.endswith("*")
            )
        case Form.MTREE:
            lines = (
                f"{item.text[1:-1]}:{_value(item)}\n" for item in items if item.text.endswith("*")
            )
    return "".join(lines).encode()


def tail(form: Form, removed: Iterable[str]) -> bytes:
    """What comes after the items."""
    match form:
        case Form.JSON:
            return b'],"removed":' + _encode(list(removed)) + b"}"
        case Form.TEXT:
            return "".join(f"-{text}\n" for text in removed).encode()
        case _:
            return b""


def _object(item: Item) -> dict[str, object]:
    why = item.why
    return {
        "number": item.text,
        "action": "allow" if why is None else "block",
        "list": None if why is None else why.list,
        "reason": None if why is None else why.reason,
        "expires_at_s": item.expires_at_s or None,
    }


def _value(item: Item) -> str:
    """What Kamailio finds: `block <list>`, or `allow`."""
    return "allow" if item.why is None else f"block {item.why.list}"
