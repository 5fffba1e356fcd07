"""A circle's key by name: what tells two keys apart without telling what they are."""

from hashlib import sha256

PLAIN = "plain"
"""The circle with no key."""


def key_id(key: bytes) -> str:
    """The id of a key in manifests, 16 hex digits; "" in `plain`."""
    return sha256(b"ringfence key id\n" + key).hexdigest()[:16] if key else ""
