"""Calls signed by STIR/SHAKEN: an authority, certificates under it, and PASSporTs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stream.core.stir.certificates import TN_AUTH_LIST

ADDRESS = "https://certs.example.net/stir/one.pem"
CALLER, CALLEE = "+447700900123", "+66812345678"
# SEQUENCE { [0] { IA5String "1234" } }: a service provider code, as ATIS-1000080 has it.
_PROVIDER_1234 = bytes.fromhex("3008a006160431323334")


class Authority:
    """An authority and its key; `signer` makes a certificate under it."""

    def __init__(self, at_s: float, name: str = "STI root") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.at = datetime.fromtimestamp(at_s, UTC)
        self.name = _name(name)
        usage = x509.KeyUsage(
            False, False, False, False, False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        self.certificate = (
            self._begun(self.name, self.key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def _begun(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, days: int = 2
    ) -> x509.CertificateBuilder:
        public = key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.at - timedelta(days=2))
            .not_valid_after(self.at + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )

    @property
    def pem(self) -> bytes:
        """The authority's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def signer(
        self, *, for_calls: bool = True, curve: ec.EllipticCurve | None = None, days: int = 2
    ) -> "Signing":
        """A network that may sign calls, by default, for so many days."""
        key = ec.generate_private_key(curve or ec.SECP256R1())
        made = self._begun(_name("SHAKEN 1234"), key, days).add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        if for_calls:
            listed = x509.UnrecognizedExtension(TN_AUTH_LIST, _PROVIDER_1234)
            made = made.add_extension(listed, critical=False)
        return Signing(key, made.sign(self.key, hashes.SHA256()))


class Signing:
    """A network's certificate and key, with which it signs calls."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def passport(self, at_s: float, *, head: Any = (), **claims: Any) -> str:
        """A PASSporT of `CALLER`'s call to `CALLEE`, with level A; `claims` and `head` differ."""
        said = {
            "attest": "A",
            "dest": {"tn": [CALLEE[1:]]},
            "iat": int(at_s),
            "orig": {"tn": CALLER[1:]},
            "origid": "4437c7eb-8f7a-4f0e-a863-f53a0e60251a",
        } | claims
        headers = {"ppt": "shaken", "typ": "passport", "x5u": ADDRESS} | dict(head)
        return jwt.encode(said, self.key, algorithm="ES256", headers=headers)

    def identity(self, at_s: float, **claims: Any) -> str:
        """The same as the value of an Identity field."""
        return f"{self.passport(at_s, **claims)};info=<{ADDRESS}>;alg=ES256;ppt=shaken"

    def put_into(self, folder: Path, address: str = ADDRESS) -> Path:
        """Write the certificate where `SignerFolder` finds it."""
        path = folder / address.removeprefix("https://")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.pem)
        return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
