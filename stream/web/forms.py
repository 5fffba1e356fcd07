"""Forms that browsers send: read within bounds, and only from our own pages."""

from collections.abc import Mapping
from hmac import compare_digest
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from stream.core.model.free_text import REASON_CHARS_MAX, line_of
from stream.edge.http.auth import from_elsewhere
from stream.edge.http.bodies import FORM
from stream.edge.http.problems import Kind, ProblemError

BYTES_MAX: Final = 64 * 1024
FIELDS_MAX: Final = 50

Fields = Mapping[str, str]


async def fields_of(request: Request) -> Fields:
    """The fields of a form. Raises ProblemError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise ProblemError(Kind.UNSUPPORTED, f"takes {FORM}")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BYTES_MAX:
            raise ProblemError(Kind.TOO_LARGE, f"a form may have {BYTES_MAX} bytes")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX))
    except ValueError as error:
        raise ProblemError(Kind.MALFORMED, "the form cannot be read") from error


def check_origin(request: Request, fields: Fields, csrf: str) -> None:
    """Refuse a form that no page of ours sent. Raises ProblemError.

    The secret in the form is what counts; what the browser says of where it comes from is asked
    beside it, should the secret ever leak.
    """
    given = fields.get("csrf", "")
    if from_elsewhere(request.scope["headers"]) or not compare_digest(
        given.encode(), csrf.encode()
    ):
        text = "this form did not come from a page of yours, or is too old: load the page anew"
        raise ProblemError(Kind.FORGED, text)


def reason_in(fields: Fields) -> str:
    """Why something is changed. Raises ProblemError if it does not say."""
    reason = text_in(fields, "reason", REASON_CHARS_MAX)
    if not reason:
        text = "say why: the reason stands in the audit; nothing was changed"
        raise ProblemError(Kind.MALFORMED, text)
    return reason


def text_in(fields: Fields, name: str, most: int) -> str:
    """A text that somebody wrote, on one line; "" if there is none. Raises ProblemError."""
    try:
        return line_of(fields.get(name, ""), f"the {name}", most)
    except ValueError as error:
        raise ProblemError(Kind.MALFORMED, f"{error}; nothing was changed") from error


def way_back(address: str) -> str:
    """`address` if it leads to a page of ours, else the first page."""
    ours = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if ours and address.isprintable() and " " not in address else "/"
