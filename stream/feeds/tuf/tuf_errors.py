"""Explain the faults of a signed repository to the operator who follows it.

python-tuf has a handful of exceptions. The attack or mishap that one means depends on the file that
was being read. Each reason has one sentence that says what to do.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tuf.api import exceptions as tuf
from tuf.api.metadata import DelegatedRole, Metadata, Root, TargetFile, Targets
from tuf.api.serialization import DeserializationError

from stream.core.model.errors import FeedDown, FeedFault

ADVICE: Final[Mapping[FeedFault, str]] = {
    FeedFault.ROLLBACK: "An older version than one seen before is served: an old copy or an attack;"
    " ask the owner which version is newest. The last good list stays.",
    FeedFault.EXPIRED: "The signature of what is served has expired: the owner stopped re-signing,"
    " or an attacker holds new versions back; ask the owner. The last good list stays.",
    FeedFault.MIXED: "Files of different versions are served together: a copy that is not finished,"
    " or an attack. If it was the first it ends by itself, else ask the owner.",
    FeedFault.WRONG_SIGNATURE: "A signature does not fit what was signed: it was altered after"
    " signing; do not use it and tell the owner.",
    FeedFault.THRESHOLD: "Fewer keys have signed than this role needs: the owner has to sign with"
    " more of its keys.",
    FeedFault.UNKNOWN_KEY: "It is signed by keys that do not count here, or no longer: a removed or"
    " a stolen key; tell the owner.",
    FeedFault.BAD_NAME: "A name could lead out of its folder: it is not used; tell the owner.",
    FeedFault.NOT_THEIRS: "It concerns a list that its signer may not sign: it is not"
    " used; tell the owner of the repository.",
    FeedFault.CLOCK: "Two clocks are far apart, so expiry cannot be judged: set the clock of this"
    " machine by NTP, and if it is right, tell the owner to look at theirs.",
    FeedFault.MALFORMED: "It is no TUF metadata: a wrong address, an error page, or a damaged"
    " file; check what that address answers.",
    FeedFault.DISK: "This machine cannot keep what it fetched: free some space, or look at the"
    " folder's rights. The last good list stays.",
    FeedFault.TOO_LARGE: "The file is larger than such a file may be: a wrong address or an attack;"
    " tell the owner.",
    FeedFault.TOO_SLOW: "It comes too slowly to be of use: a bad line, or an attacker stalls it;"
    " it is tried again.",
    FeedFault.WRONG_LENGTH: "The file does not have the length that was signed: it was cut, or goes"
    " on after its end; it is tried again, and if it stays so, tell the owner.",
    FeedFault.CHECKSUM: "The file is not the one that was signed: it was altered or damaged; it is"
    " not used; tell the owner.",
    FeedFault.MISSING: "It is not there: look at the address, or the owner has not published it"
    " (yet), or shares it no longer.",
    FeedFault.DOWN: "The server does not answer; it is tried again.",
    FeedFault.TIMEOUT: "The server does not answer in time; it is tried again.",
    FeedFault.REDIRECTED: "The server sends us elsewhere: write the new address, if it is right.",
    FeedFault.UNAUTHORISED: "The server does not let us in: ask its owner.",
    FeedFault.REFUSED_BY_SERVER: "The server answers with an error; it is tried again.",
    FeedFault.CERTIFICATE: "The server's certificate is not trusted: look at the address and at"
    " ca_file.",
}
"""Reasons why a repository is refused, and what to do about each."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.~-]{0,149}(/[A-Za-z0-9][A-Za-z0-9_.~-]{0,149}){0,7}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
# python-tuf has one exception for several attacks; its text distinguishes them. A new wording turns
# one reason into another, never a refusal into an acceptance.
_ROLLED_BACK = re.compile(r"must be >=|^Expected \S+\.json version|is missing info for")


def refused(reason: FeedFault, what: str) -> FeedDown:
    """Return the exception of a reason: what was found, then what to do."""
    return FeedDown(reason, f"{what}. {ADVICE[reason]}")


def safe_name(name: str) -> str:
    """Return a target's name if it stays below its folder. Raises FeedDown(BAD_NAME)."""
    if not _NAME.match(name):
        shown = name if len(name) <= 80 else f"{name[:77]}..."
        raise refused(FeedFault.BAD_NAME, f"a target is named {shown!r}")
    return name


def safe_role(name: object) -> str:
    """Return a delegated role's name if it can name a file. Raises FeedDown(BAD_NAME).

    python-tuf takes any JSON value as a name, so a signed `true` comes here too.
    """
    if not isinstance(name, str) or "/" in name:
        raise refused(FeedFault.BAD_NAME, f"a role is named {str(name)[:80]!r}")
    return safe_name(name)


def first_path(role: DelegatedRole) -> str:
    """Return the first pattern of a role that has some. Raises FeedDown(MALFORMED).

    python-tuf takes any JSON value whose items are texts: a signed object comes here too.
    """
    if not isinstance(role.paths, list):
        raise refused(FeedFault.MALFORMED, f"the paths of role {role.name} are no list")
    return role.paths[0]


def safe_target(target: TargetFile) -> None:
    """Check that a target's name and hash can be parts of a file name. Raises FeedDown."""
    safe_name(target.path)
    first = next(iter(target.hashes.items()), ("", ""))
    if first[0] != "sha256" or not _SHA256.match(first[1]):
        text = f"{target.path} has no SHA-256, or not as its first hash"
        raise refused(FeedFault.MALFORMED, text)


def explained(error: Exception, place: str, doing: str, kept: Path, said: bytes) -> FeedDown:
    """Return our exception for python-tuf's `error` at `place` while `doing` something.

    `kept` is the folder of verified metadata, `said` the file that was read last.
    """
    where = f"{place}: {doing}"
    if isinstance(error, FeedDown):
        return error
    if isinstance(error, DeserializationError):
        return refused(FeedFault.MALFORMED, f"{where} cannot be read")
    if isinstance(error, tuf.UnsignedMetadataError):
        return _signature(error, where, kept, said)
    if isinstance(error, tuf.ExpiredMetadataError):
        return refused(FeedFault.EXPIRED, f"{where}: {error}")
    if isinstance(error, tuf.BadVersionNumberError):
        rolled = _ROLLED_BACK.search(str(error))
        return refused(FeedFault.ROLLBACK if rolled else FeedFault.MIXED, f"{where}: {error}")
    if isinstance(error, tuf.LengthOrHashMismatchError):
        return refused(FeedFault.MIXED, f"{where}: {error}")
    if isinstance(error, tuf.DownloadLengthMismatchError):
        return refused(FeedFault.TOO_LARGE, f"{where}: {error}")
    if isinstance(error, tuf.DownloadHTTPError):
        return _of_status(error, where)
    if isinstance(error, tuf.RepositoryError):
        rolled = _ROLLED_BACK.search(str(error))
        return refused(FeedFault.ROLLBACK if rolled else FeedFault.MALFORMED, f"{where}: {error}")
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename else ""
        return refused(FeedFault.DISK, f"{where}: {file}{error.strerror or error}")
    return refused(FeedFault.DOWN, f"{where}: {error}")


def _of_status(error: tuf.DownloadHTTPError, where: str) -> FeedDown:
    reason = {
        401: FeedFault.UNAUTHORISED,
        403: FeedFault.UNAUTHORISED,
        404: FeedFault.MISSING,
        410: FeedFault.MISSING,
    }.get(error.status_code, FeedFault.REFUSED_BY_SERVER)
    if 300 <= error.status_code < 400:
        reason = FeedFault.REDIRECTED
    return refused(reason, f"{where}: {error}")


def _signature(error: tuf.UnsignedMetadataError, where: str, kept: Path, said: bytes) -> FeedDown:
    """Return the fault: too few keys signed, or unknown ones, or other bytes were signed."""
    text = f"{where}: {error}"
    role, _, rest = str(error).partition(" was signed by ")
    if not rest.startswith("0/"):
        return refused(FeedFault.THRESHOLD, text)
    keys = _keys_of(role, kept)
    # Nobody signed in threshold: the file itself names the keys that tried.
    signers = set(Metadata.from_bytes(said).signatures)
    known = signers & keys
    reason = FeedFault.WRONG_SIGNATURE if known or not signers else FeedFault.UNKNOWN_KEY
    return refused(FeedFault.THRESHOLD if not signers else reason, text)


def _keys_of(role: str, kept: Path) -> set[str]:
    """Return the keys that may sign for a role by the verified metadata."""
    try:
        root = Metadata[Root].from_file(str(kept / "root.json")).signed
        if role in root.roles:
            return set(root.roles[role].keyids)
        for path in kept.glob("*.json"):
            signed = Metadata[Targets].from_file(str(path)).signed
            if signed.type == Targets.type and signed.delegations is not None:
                found = (signed.delegations.roles or {}).get(role)
                if found is not None:
                    return set(found.keyids)
    except (OSError, tuf.RepositoryError, tuf.StorageError, ValueError, KeyError):
        return set()
    return set()


def metadata_file(role: str) -> str:
    """Return a role's file name, as python-tuf writes it."""
    return f"{quote(role, '')}.json"
