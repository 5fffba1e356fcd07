"""Check expiry and privacy of agreements, keys, signatures, certificates and tokens."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cryptography import x509

from stream.config.agreement_files import AgreementFolder
from stream.config.placeholders import placeholders
from stream.config.sections import ExchangeSection
from stream.config.settings import Settings
from stream.config.signer_files import SignerFolder
from stream.core.model.errors import ConfigInvalid, ExchangeFault, SecretUnsafe
from stream.doctor.result import CheckLine, fail, ok, warn
from stream.edge.http.tokens import Tokens
from stream.exchange import repository_files
from stream.exchange.repository import role_statuses
from stream.exchange.signing_keys import SEALED_BY, KeyRing
from stream.insight.explain.agreement_text import notes
from stream.lists.snapshot.circle_keys import keys_in
from stream.ops.schema.durations import spelled
from stream.ops.schema.toml import secret

DAY_S = 86_400
SOON_S = {"root": 30 * DAY_S, "targets": 30 * DAY_S, "snapshot": 3 * DAY_S, "timestamp": 2 * 3600}
"""A role with less left than this is not being renewed; a list's: see LIST_SOON_S."""
LIST_SOON_S = 10 * DAY_S
CERTIFICATE_SOON_S = 30 * DAY_S
TOKEN_SOON_S = 14 * DAY_S
"""As the alert TokenExpires has it."""


def check_agreements(settings: Settings, now_s: int) -> Iterator[CheckLine]:
    """Files that cannot be used, and what is about to end or cannot act."""
    folder = AgreementFolder(settings.agreements.folder())
    folder.look()
    for errors in folder.reading.errors.values():
        for error in errors:
            yield fail("agreements", error, "ringfence agreements check")
    for note in notes(settings, folder.reading.agreements, now_s):
        yield warn("agreements", note, "ringfence agreements list")
    yield ok("agreements", f"{len(folder.reading.agreements.held)} can be used")


def check_placeholders(settings: Settings, environ: Mapping[str, str]) -> Iterator[CheckLine]:
    """List example addresses in the settings, which reach no one."""
    found = [*placeholders(settings, environ)]
    for text in found:
        yield warn("addresses", text, f"edit {text.partition(': ')[0]}")
    if not found:
        yield ok("addresses", "contacts, and the address for blocked callers, are set")


def check_keys(
    exchange: ExchangeSection, circles: Iterable[str], environ: Mapping[str, str]
) -> Iterator[CheckLine]:
    """Check circles' keys and signing keys: there, and readable by their owner only.

    `circles` are those whose keys the environment holds.
    """
    folder = Path(exchange.circles_dir)
    try:
        names = {*keys_in(folder), *circles}
        yield ok("circle keys", f"{', '.join(sorted(names)) or 'none'} (and plain, without one)")
    except SecretUnsafe as fault:
        yield fail("circle keys", str(fault), f"chmod 600 {folder}/*.key")
    keys = Path(exchange.keys_dir)
    if keys.is_dir():
        errors: list[str] = []
        ring = KeyRing([keys], secret(SEALED_BY, environ, errors))
        try:
            yield ok("signing keys", f"{len([*ring.held()])} in {keys}")
        except (SecretUnsafe, ExchangeFault) as fault:
            yield fail("signing keys", str(fault), f"chmod 600 {keys}/*.pem")


def check_roles(folder: Path, now_s: int) -> Iterator[CheckLine]:
    """Check how long the signatures of the repository in `folder` are good."""
    if not (folder / "metadata").is_dir():
        return
    try:
        found = role_statuses(repository_files.read(folder))
    except (ExchangeFault, OSError) as fault:
        yield fail("what we publish", str(fault), "ringfence exchange verify")
        return
    for one in found:
        left_s = one.expires_s - now_s
        role, soon_s = f"role {one.role}", SOON_S.get(one.role, LIST_SOON_S)
        by_people = one.role in {"root", "targets"}
        fix = "ringfence exchange run, or resign"
        if by_people:
            fix = f"ringfence exchange key rotate {one.role}-1 --keys STICK --keys STICK"
        if left_s <= 0:
            yield fail(role, f"expired {spelled(-left_s)} ago: partners refuse us", fix)
        elif left_s < soon_s:
            yield warn(role, f"expires in {spelled(left_s)}", fix)
        else:
            yield ok(role, f"good for {spelled(left_s)}")


def check_certificates(settings: Settings, now_s: int) -> Iterator[CheckLine]:
    """Yield every certificate that the settings name."""
    named = {
        "kafka.ca_file": settings.kafka.ca_file,
        "kafka.cert_file": settings.kafka.cert_file,
        "redis.ca_file": settings.redis.ca_file,
        "redis.cert_file": settings.redis.cert_file,
        "sinks.redis.ca_file": settings.sinks.redis.ca_file,
        "sinks.redis.cert_file": settings.sinks.redis.cert_file,
        "serve.cert_file": settings.serve.cert_file,
        "sip.cert_file": settings.sip.cert_file,
        "sip.client_ca_file": settings.sip.client_ca_file,
        "stir.trusted": settings.stir.trusted,
    }
    for name, section in settings.sinks.webhooks.endpoints.items():
        named[f"sinks.webhooks.endpoints.{name}.ca_file"] = section.ca_file
    for setting, path in named.items():
        if path:
            yield certificate_line(setting, Path(path), now_s)
    try:
        settings.check_tls()
    except ConfigInvalid as wrong:  # also a key of another certificate
        for error in wrong.errors:
            yield fail("certificates", error, "ringfence check-config, as the service's user")


def certificate_line(setting: str, path: Path, now_s: int) -> CheckLine:
    """Return the certificate in a file that expires first."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        return fail(setting, f"{path} cannot be read: {error}", f"openssl x509 -in {path}")
    left_s = min(one.not_valid_after_utc.timestamp() for one in found) - now_s
    if left_s <= 0:
        return fail(setting, f"expired {spelled(-left_s)} ago", f"a new certificate in {path}")
    if left_s < CERTIFICATE_SOON_S:
        return warn(setting, f"expires in {spelled(left_s)}", f"a new certificate in {path}")
    return ok(setting, f"good for {spelled(left_s)}")


def check_signers(settings: Settings, now_s: int) -> Iterator[CheckLine]:
    """Yield the certificates by which signed calls are verified; nothing where none are."""
    section = settings.stir
    if not section.trusted:
        return
    if not settings.policy.rules.settings().of_attestation:
        what = "authorities are named, and no rule uses signatures"
        yield warn("stir", what, 'policy.rules.attestation_failed = "observe"')
    held = SignerFolder(Path(section.trusted), Path(section.certificates))
    held.start()
    bad = sorted(address for address, one in held.signers.items() if not one.good_at(now_s))
    said = f"{len(held.signers)} certificates of signers"
    if bad:
        why = held.signers[bad[0]].wrong or "expired"
        said = f"{said}, {len(bad)} not usable: {bad[0]}: {why}"
    if bad or not held.signers:
        yield warn("stir.certificates", said, "fetch them: docs/how-to/decide/signatures.md")
    else:
        yield ok("stir.certificates", said)


def check_tokens(tokens: Tokens, now_s: int) -> Iterator[CheckLine]:
    """List clients whose tokens end: a switch without a token gets no answer."""
    for client, at_s in tokens.expiries.items():
        left_s = at_s - now_s
        said = f"{client} expired {spelled(-left_s)} ago" if left_s <= 0 else ""
        said = said or f"{client} expires in {spelled(left_s)}"
        fix = "ringfence token create, and its line in the place of the old one"
        if left_s <= 0:
            yield fail("tokens", said, fix)
        elif left_s < TOKEN_SOON_S:
            yield warn("tokens", said, fix)
    if tokens.held:
        yield ok("tokens", f"{len(tokens.held)} clients of ringfence serve")


def check_secret_files(environ: Mapping[str, str]) -> Iterator[CheckLine]:
    """Files that hold secrets, clients' tokens among them: only their owner may read them."""
    for variable, text in sorted(environ.items()):
        if not (variable.startswith("RINGFENCE_") and variable.endswith("_FILE") and text):
            continue
        path = Path(text)
        try:
            found = path.stat()
        except OSError as error:
            yield fail(variable, f"{path} cannot be read: {error.strerror}", f"unset {variable}")
            continue
        mode = stat.S_IMODE(found.st_mode)
        # Kubernetes, and `chown root:ringfence`, give us a file of theirs through our group. Root
        # looks for a service that 600 would keep from it.
        is_ours = found.st_uid == os.geteuid() != 0
        if mode & (0o077 if is_ours else 0o037):
            fix = f"chmod {600 if is_ours else 640} {path}"
            yield fail(variable, f"{path} has mode {mode:04o}", fix)
        elif not os.access(path, os.R_OK):
            yield fail(variable, f"{path} cannot be read by us", f"chown $(id -un) {path}")
        else:
            yield ok(variable, f"{path} is private")
