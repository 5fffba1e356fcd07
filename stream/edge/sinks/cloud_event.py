"""A decision as a CloudEvent (CloudEvents 1.0.2, HTTP protocol binding 3.1 and 3.2), signed.

The event's id is the decision's: a receiver that gets it twice (delivery is at least once) can
tell. The signature is that of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, once for
each secret. A receiver may use the old one while it is being replaced.

No header has a number, since headers are logged along the way. The body holds it whole.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from stream.core.model.decision import read_decision

Mode = Literal["binary", "structured"]
TYPE: Final = "io.ringfence.decision.v1"
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
"""Standard Webhooks, "Symmetric signatures"."""
_MARK: Final = "whsec_"
_ID, _TIME = re.compile(r"[A-Za-z0-9]{1,64}"), re.compile(r"[0-9TZ:.+-]{1,40}")


class CloudEvent(NamedTuple):
    """One decision as an event. `kind` is its verdict, or "simulated"."""

    id: str
    kind: str
    lists: frozenset[str]
    number: str
    time: str
    body: bytes


class _Structured(msgspec.Struct, gc=False):
    """Attributes and data in one body."""

    specversion: str
    id: str
    type: str
    source: str
    time: str
    datacontenttype: str
    data: msgspec.Raw


def read_event(value: bytes | None) -> CloudEvent | None:
    """Return the decision in a record; None: it is none."""
    held = read_decision(value)
    # Id and time become headers, and the topic is not ours alone: a line end in one would be a
    # header of its own.
    if held is None or not (_ID.fullmatch(held.decision_id) and _TIME.fullmatch(held.decided_at)):
        return None
    kind = "simulated" if held.simulated else held.verdict
    lists = frozenset(reason.list for reason in held.reasons)
    return CloudEvent(
        held.decision_id, kind, lists, held.number or "", held.decided_at, value or b""
    )


def request_of(event: CloudEvent, mode: Mode, source: str) -> tuple[dict[str, str], bytes]:
    """Return an event's headers, without the signature, and its body."""
    if mode == "structured":
        whole = _Structured(
            specversion="1.0",
            id=event.id,
            type=TYPE,
            source=source,
            time=event.time,
            datacontenttype="application/json",
            data=msgspec.Raw(event.body),
        )
        return {"Content-Type": "application/cloudevents+json"}, msgspec.json.encode(whole)
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": event.id,
        "ce-type": TYPE,
        "ce-source": source,
        "ce-time": event.time,
    }
    return headers, event.body


def signed(secrets: Sequence[bytes], name: str, at_s: int, body: bytes) -> Mapping[str, str]:
    """Return the headers that prove the origin and the time of `body`, signed by each secret."""
    content = f"{name}.{at_s}.".encode() + body
    signatures = [
        base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
        for secret in secrets
    ]
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def secret_of(text: str) -> bytes:
    """Return the secret in `whsec_<base64>`. Raises ValueError, whose text never quotes it."""
    try:
        secret = base64.b64decode(text.removeprefix(_MARK), validate=True)
    except binascii.Error:
        raise ValueError("is no base64 (whsec_...)") from None
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        size = f"{SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}"
        raise ValueError(f"has {len(secret)} bytes, not {size}: `openssl rand -base64 32`")
    return secret
