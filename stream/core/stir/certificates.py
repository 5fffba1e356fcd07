"""Certificates of those who sign calls, and the authorities that are trusted. Pure.

The chain is checked when a certificate is read, not on a call's way. A certificate of SHAKEN
(ATIS-1000080) says in its TNAuthList who may sign, and has no name of a server. Its key is of
P-256, since PASSporTs are signed with ES256 (RFC 8225, 8).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.x509 import (
    Certificate,
    DuplicateExtension,
    ExtensionNotFound,
    InvalidVersion,
    ObjectIdentifier,
    UnsupportedGeneralNameType,
    load_pem_x509_certificates,
)
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

TN_AUTH_LIST: Final = ObjectIdentifier("1.3.6.1.5.5.7.1.26")
"""RFC 8226, 9: the numbers or carriers that the certificate is for."""
CHAIN_MAX: Final = 4
"""Authorities between a certificate and one that is trusted."""


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """A certificate of the folder: its key, and the time in which its whole chain is good.

    `wrong` says why it is not trusted; "": it is.
    """

    key: EllipticCurvePublicKey | None
    from_s: float
    until_s: float
    wrong: str = ""

    def good_at(self, at_s: float) -> bool:
        """Return whether its signature counts at that time."""
        return not self.wrong and self.from_s <= at_s <= self.until_s


def trust_of(pem: bytes) -> Sequence[Certificate]:
    """Return the authorities in a file. Raises ValueError where there is none."""
    return _certificates(pem)


def _certificates(pem: bytes) -> Sequence[Certificate]:
    try:
        return load_pem_x509_certificates(pem)
    except InvalidVersion as error:  # no ValueError, as are the others below
        raise ValueError(str(error)) from error


def signer_of(pem: bytes, trusted: Sequence[Certificate], at_s: float) -> Signer:
    """Read a file: the certificate, then its chain. Raises ValueError where it has none."""
    own, *others = _certificates(pem)
    try:
        key: object = own.public_key()
    except (UnsupportedAlgorithm, ValueError):
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        return _refused("its key is not of P-256, which ES256 needs")
    try:
        own.extensions.get_extension_for_oid(TN_AUTH_LIST)
    except (ExtensionNotFound, DuplicateExtension, UnsupportedGeneralNameType, ValueError):
        return _refused("it has no TNAuthList, so it is for no calls")
    # At a time when the certificate itself is good: whether it is now is asked for each call.
    from_s, until_s = own.not_valid_before_utc.timestamp(), own.not_valid_after_utc.timestamp()
    policy = (
        PolicyBuilder()
        .store(Store(list(trusted)))
        .time(datetime.fromtimestamp(min(max(at_s, from_s), until_s), UTC))
        .max_chain_depth(CHAIN_MAX)
        .extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        )
    )
    try:
        chain = policy.build_client_verifier().verify(own, others).chain
    except VerificationError as error:
        return _refused(str(error).partition("\n")[0])
    return Signer(
        key,
        max(one.not_valid_before_utc.timestamp() for one in chain),
        min(one.not_valid_after_utc.timestamp() for one in chain),
    )


def _refused(why: str) -> Signer:
    return Signer(None, 0.0, 0.0, why)
