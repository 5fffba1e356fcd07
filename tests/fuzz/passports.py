"""Identity fields and PASSporTs against any text: a finding for each, and none that is forged.

    python -m tests.fuzz.passports --kind signed --seconds 600 --seed 1

A round changes the texts of the three parts (`text`), the JSON within them (`forged`), or the JSON
before our own authority's key signs it (`signed`). A level is believed only where that key signed
the very head and claims of a PASSporT. The first text that is read otherwise ends the run.
"""

import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Final

from jwt import PyJWS

from stream.core.stir.attestation import LEVELS, Attested, read_level, read_verstat, verstat_of_uri
from stream.core.stir.certificates import Signer, signer_of, trust_of
from stream.core.stir.passport import TOKENS_MAX, read_passport, tokens_in
from stream.core.stir.verifier import Finding, SignedCall, Verifier
from tests.fuzz.harness import fuzz
from tests.fuzz.json_records import changed
from tests.support.builders import NOW_S
from tests.support.signed_calls import ADDRESS, CALLEE, CALLER, Authority, Signing

KINDS: Final = ("text", "forged", "signed")
ROUND = 300
BELIEVED: Final = frozenset(Attested[level] for level in LEVELS) | {Attested.PASSED}
CALLS: Final = (
    SignedCall({CALLER}, {CALLEE}, NOW_S),
    SignedCall((), {CALLEE}, NOW_S),
    SignedCall({CALLER}, (), None),
)
TOKENS: Final = (
    *(b".", b"..", b",", b";", b"=", b"==", b" ", b"\t", b"\r\n", b"e30", b"bnVsbA", b"W10"),
    *(b"eyJhbGciOiJub25lIn0", b";info=<https://x>;alg=none", b"A" * 5000, b"a.b.c,", b"-_" * 300),
    *(b"\xff", b"\xc3\xa9", b"\0", b"ppt=div", b";verstat=TN-Validation-Passed-A", b'"', b"<"),
)
JSON_TOKENS: Final = (
    *(b'"alg":"none"', b'"alg":"HS256"', b'"alg":"ES256"', b'"x5u":""', b'"ppt":"div"', b'"typ":1'),
    *(b'"iat":9e99', b'"iat":-1', b'"iat":"1"', b'"tn":[]', b'"tn":7', b'"tn":["1","2"]', b"null"),
    *(b'"attest":"A"', b'"attest":"a"', b'"dest":{}', b'"orig":{"tn":"+"}', b'"div":{"tn":"1"}'),
    *(b'"tn":["' + b'1","' * 40 + b'"]', b'"origid":""', b"[" * 200, b'{"a":' * 90, b"\xff"),
    *(b'"crit":["b64"]', b'"b64":false', b'"kid":{}', b'"iat":1e3', b'"iat":1795593723.5'),
    b"1" * 400,
)  # fmt: skip


@cache
def signing() -> tuple[Signing, Signer]:
    """A network's key, and its certificate under a trusted authority."""
    root = Authority(NOW_S)
    one = root.signer()
    return one, signer_of(one.pem, trust_of(root.pem), NOW_S)


class Mutants:
    """Texts made of one genuine PASSporT after another; `signed` are the inputs our key signed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._one, _ = signing()
        self._jws = PyJWS()
        self.signed: set[str] = set()

    def make(self, kind: str, count: int) -> Iterator[str]:
        """Yield fields of Identity, or bare PASSporTs."""
        for _ in range(count):
            level = self._rng.choice(LEVELS)
            token = self._one.passport(NOW_S, attest=level)
            self.signed.add(token.rpartition(".")[0])
            if self._rng.random() < 0.9:
                token = getattr(self, f"_{kind}")(token)
            yield self._field(token)

    def _text(self, token: str) -> str:
        return changed(token.encode(), [token.encode()], self._rng, TOKENS).decode(errors="replace")

    def _forged(self, token: str) -> str:
        parts = token.split(".")
        at = self._rng.randrange(2)
        parts[at] = _encoded(self._other(parts[at]))
        return ".".join(parts)

    def _signed(self, token: str) -> str:
        head, claims, _ = token.split(".")
        first = _encoded(self._other(head)) if self._rng.random() < 0.3 else head
        second = _encoded(self._other(claims))
        algorithm = self._jws.get_algorithm_by_name("ES256")
        signature = algorithm.sign(f"{first}.{second}".encode(), self._one.key)
        self.signed.add(f"{first}.{second}")
        return f"{first}.{second}.{_encoded(signature)}"

    def _other(self, part: str) -> bytes:
        data = urlsafe_b64decode(part + "=" * (-len(part) % 4))
        return changed(data, [data], self._rng, JSON_TOKENS)

    def _field(self, token: str) -> str:
        match self._rng.randrange(4):
            case 0:
                return f"{token};info=<{ADDRESS}>;alg=ES256;ppt=shaken"
            case 1:
                beside = self._one.passport(NOW_S)
                self.signed.add(beside.rpartition(".")[0])
                return f"{token}, {beside};ppt=shaken"
            case _:
                return token


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def check(verifier: Verifier, told: Counter[Finding], field: str, signed: set[str]) -> int:
    """Verify a field for each call; how often it was believed. Fails where that is wrong."""
    tokens = tokens_in(field)
    assert len(tokens) <= TOKENS_MAX
    for token in tokens:
        read_passport(token)
    read_verstat(field)
    read_level(field)
    verstat_of_uri(field)
    believed = 0
    for call in CALLS:
        before = told.total()
        found = verifier.attested(field, call, NOW_S)
        assert told.total() == before + 1, "each call is counted once"
        if found in BELIEVED:
            believed += 1
            # One of another kind beside it is passed over.
            assert any(token.rpartition(".")[0] in signed for token in tokens), "it is forged"
    return believed


def run(kind: str, seed: int, count: int) -> int:
    """Check `count` fields; how often one was believed."""
    _, signer = signing()
    told: Counter[Finding] = Counter()
    held = {ADDRESS: signer}
    verifier = Verifier(lambda: held, 60.0, 1e9, lambda found: told.update([found]))
    mutants, believed = Mutants(seed), 0
    for field in mutants.make(kind, count):
        try:
            believed += check(verifier, told, field, mutants.signed)
        except BaseException as error:
            error.add_note(f"{kind}: {field!r}")
            raise
    verifier.missed()
    return believed


def main() -> None:
    """Check until the time is over."""
    fuzz("levels believed", KINDS, lambda kind, seed: run(kind, seed, ROUND), "--kind", ROUND)


if __name__ == "__main__":
    main()
