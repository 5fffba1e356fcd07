"""Bodies of `POST /v1/calls/{dialect}` to records: the bytes as the switch wrote them. Pure.

If a record cannot be cut out of its body, nothing of the body is taken, and the sender has to
correct it. The dialect reads the records later.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from stream.calls import submitted_records
from stream.edge.http.problems import ProblemError, ProblemKind

FORM: Final = "application/x-www-form-urlencoded"
FORM_BASE64: Final = "application/x-www-form-base64-encoded"
FORM_PLAIN: Final = "application/x-www-form-plaintext"
JSON: Final = "application/json"
RECORDS_MAX: Final = 50_000
"""Records of a body: they are cut in one go, while lookups wait."""
_FIELD: Final = b"cdr"
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_any = msgspec.json.Decoder(msgspec.Raw).decode
_BYTE: Final = re.compile(r"\(byte (\d+)\)")

Records = list[bytes]


def records_in(body: bytes, content_type: str, record_bytes_max: int) -> Records:
    """Return the records of a body. Raises ProblemError, with the place of each fault."""
    kind = content_type.partition(";")[0].strip().lower()
    read = _READERS.get(kind)
    if read is None:
        known = ", ".join(sorted(_READERS))
        text = f"takes bodies of the types {known}"
        raise ProblemError(ProblemKind.UNSUPPORTED, text, headers={"Accept-Post": known})
    records = read(body)
    if not records:
        raise ProblemError(ProblemKind.MALFORMED, "there is no record in the body")
    if len(records) > RECORDS_MAX:
        raise ProblemError(ProblemKind.TOO_LARGE, f"a body may hold {RECORDS_MAX} records")
    errors = [
        {"index": index, "reason": f"{len(record)} bytes"}
        for index, record in enumerate(records)
        if len(record) > record_bytes_max
    ]
    if errors:
        text = f"a record may have {record_bytes_max} bytes ([calls] record_bytes_max)"
        raise ProblemError(ProblemKind.TOO_LARGE, text, errors=errors)
    return records


def _json(body: bytes) -> Records:
    """Read one object, an array of objects, or several objects on lines."""
    whole = body.strip()
    if not whole:
        return []
    if whole.startswith(b"["):
        try:
            records = [bytes(raw) for raw in _raws(body)]
        except _BROKEN as error:
            raise _wrong("the body", [_place({}, error)]) from error
        return _checked(records, lambda index: {"index": index})
    try:
        return _checked([whole], lambda _: {})
    except ProblemError:
        if b"\n" not in whole:
            raise
        return _lines(body)


def _lines(body: bytes) -> Records:
    """Read an object a line; empty lines are skipped."""
    numbered = [
        (number, line) for number, raw in enumerate(body.split(b"\n"), 1) if (line := raw.strip())
    ]
    return _checked([line for _, line in numbered], lambda index: {"line": numbered[index][0]})


def _texts(body: bytes) -> Records:
    """Read a record a line, in any form: the dialect parses it."""
    return [line for raw in body.split(b"\n") if (line := raw.rstrip(b"\r")).strip()]


def _blocks(body: bytes) -> Records:
    """Read records of several lines, as a file has them: RADIUS detail, AMI text, XML, lines."""
    return submitted_records.records_in(body)


def _xml(body: bytes) -> Records:
    """Read documents of mod_xml_cdr; its dialect parses them."""
    whole = body.strip()
    if not whole.startswith(b"<"):
        raise _wrong("the body", [{"reason": "is no XML document"}])
    return submitted_records.cut(whole, submitted_records.Framing.XML)


def _document(body: bytes) -> Records:
    """Read what FreeSWITCH posts: JSON of mod_json_cdr or XML of mod_xml_cdr."""
    return _xml(body) if body.lstrip()[:1] == b"<" else _json(body)


def _form(body: bytes) -> Records:
    """Read the form of FreeSWITCH's modules with `encode = true`: `cdr=`, URL-encoded."""
    return _document(unquote_to_bytes(_field(body).replace(b"+", b" ")))


def _form_base64(body: bytes) -> Records:
    """Read the form with `encode = base64`; whitespace between the letters is skipped."""
    letters = b"".join(unquote_to_bytes(_field(body)).split())
    try:
        return _document(base64.b64decode(letters, validate=True))
    except binascii.Error as error:
        raise _wrong("the field cdr", [{"field": "cdr", "reason": "is no base64"}]) from error


def _form_plain(body: bytes) -> Records:
    """Read the form with `encode = false`, of versions that do not name it JSON.

    XML has `&` and `=` in it, so the body is no form that could be cut at those.
    """
    return _document(body.removeprefix(b"cdr="))


def _field(body: bytes) -> bytes:
    """Return the field with the record. Only the first = separates: base64 may end with one."""
    for part in body.split(b"&"):
        name, _, value = part.partition(b"=")
        if name.strip() == _FIELD:
            return value
    # curl and many clients name this type where nobody names one.
    text = f"is missing; JSON records need Content-Type: {JSON}"
    raise _wrong("the form", [{"field": "cdr", "reason": text}])


_READERS: Final[Mapping[str, Callable[[bytes], Records]]] = {
    JSON: _json,
    "application/jsonl": _lines,
    "application/x-ndjson": _lines,
    "text/csv": _texts,
    "text/plain": _blocks,
    "text/xml": _xml,
    "application/xml": _xml,
    FORM: _form,
    FORM_BASE64: _form_base64,
    FORM_PLAIN: _form_plain,
}
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _checked(records: Records, place: Callable[[int], dict[str, Any]]) -> Records:
    """Return the records, if each is one JSON object. Raises ProblemError."""
    errors = []
    for index, record in enumerate(records):
        try:
            _any(record)
        except _BROKEN as error:
            errors.append(_place(place(index), error))
        else:
            if not record.startswith(b"{"):
                errors.append({**place(index), "reason": "is no JSON object"})
    if errors:
        raise _wrong("the body", errors)
    return records


def _place(place: dict[str, Any], error: Exception) -> dict[str, Any]:
    """Return place and reason of a fault; the byte counts from the start of the record."""
    text = str(error)
    byte = _BYTE.search(text)
    if byte is not None:
        place |= {"byte": int(byte[1])}
    reason = "nested too deep" if isinstance(error, RecursionError) else "is no JSON"
    if "truncated" in text:
        reason = "is cut short"
    return {**place, "reason": reason}


def _wrong(what: str, errors: list[dict[str, Any]]) -> ProblemError:
    return ProblemError(
        ProblemKind.MALFORMED, f"{what} cannot be read; none of it was taken", errors=errors
    )
