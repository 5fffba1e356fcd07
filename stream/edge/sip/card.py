"""The signed card in answers 608 (RFC 8688): who rejected the call, and how to object.

The Call-Info field holds a jCard (RFC 7095) in a JSON Web Signature as a `data:` URI. So the caller
needs no other server for it. The decision's address is in the Reason, as in every answer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from stream.core.model.errors import ConfigInvalid
from stream.edge.sip.settings import CardSettings
from stream.ops.renewed_secret import RenewedSecret

SIGNED_S: Final = 3600.0
"""A card is signed again after so long: who checks it looks at its time."""


class RejectionCard:
    """The Call-Info of answers 608, signed again each hour and when the key's file has changed."""

    def __init__(
        self,
        settings: CardSettings,
        key: Callable[[], EllipticCurvePrivateKey],
        clock_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._key = key
        self._clock_s = clock_s
        self._signed_by: EllipticCurvePrivateKey | None = None
        self._signed_s = 0.0
        self._text = ""

    @classmethod
    def of(cls, settings: CardSettings, clock_s: Callable[[], float]) -> Self | None:
        """Return the card; None: there is no key. Raises ConfigInvalid for one of no use."""
        if not settings.key_file:
            return None
        path = Path(settings.key_file)
        try:
            key = _key_in(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            # A decoder's error would quote the key.
            why = error.strerror if isinstance(error, OSError) else "it is no key of P-256 in PEM"
            raise ConfigInvalid((f"sip.card: key_file: {path}: {why}",)) from None
        return cls(settings, RenewedSecret(path, key, _key_in).now, clock_s)

    def call_info(self) -> str:
        """Return the value of Call-Info."""
        key, now_s = self._key(), self._clock_s()
        if key is not self._signed_by or not 0 <= now_s - self._signed_s < SIGNED_S:
            self._signed_by, self._signed_s = key, now_s
            self._text = f"<data:application/jose,{self._signed(key)}>;purpose=jwscard"
        return self._text

    def _signed(self, key: EllipticCurvePrivateKey) -> str:
        card = self._settings
        entries: list[list[object]] = [
            ["version", {}, "text", "4.0"],
            ["fn", {}, "text", card.name],
        ]
        if card.email:
            entries.append(["email", {"type": "work"}, "text", card.email])
        if card.tel:
            entries.append(["tel", {"type": "work"}, "uri", f"tel:{card.tel}"])
        if card.url:
            entries.append(["url", {"type": "work"}, "uri", card.url])
        claims = {"iat": int(self._signed_s), "jcard": ["vcard", entries]}
        headers = {"typ": "vcard+json", "x5u": card.certificate_url}
        return jwt.encode(claims, key, algorithm="ES256", headers=headers)


def _key_in(text: str) -> EllipticCurvePrivateKey:
    """Read a private key. Raises ValueError."""
    try:
        key = load_pem_private_key(text.encode(), None)
    except TypeError as error:  # it has a pass phrase
        raise ValueError("the key has a pass phrase") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("no key of P-256")  # noqa: TRY004 - a file's text is wrong, no argument
    return key
