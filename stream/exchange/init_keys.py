"""The keys of a repository that is being made, so that an `init` that is killed can be done again.

Before the first key is made, a note beside the folder names the files of all of them. While it is
there the same `init` goes on with the keys that are there; its removal is the end of `init`. A key
that no note names is somebody's, and is never used or overwritten.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from stream.core.model.errors import UNREADABLE, ExchangeFault
from stream.exchange import repository_files
from stream.exchange.signing_keys import HeldKey, KeyRing
from stream.ops.secret_files import read_private

_END = b"-----END"


def note_of(folder: Path) -> Path:
    """Where it stands that the repository `folder` is being made."""
    return folder.with_name(f".{folder.name}.making")


def keys_for(folder: Path, ring: KeyRing, wanted: Sequence[tuple[str, Path]]) -> list[HeldKey]:
    """A new key for each name and folder of `wanted`, or the one of an `init` that was broken off.

    Whoever calls is alone with the repository. Raises ExchangeFault, SecretUnsafe.
    """
    note = note_of(folder)
    paths = [ring.place_of(name, place).absolute() for name, place in wanted]
    begun = _begun(note)
    if begun is None:
        for path in paths:
            if path.exists():
                text = f"{path} is there already and is not overwritten: a key of something else?"
                raise ExchangeFault(f"{text} Take another folder; nothing was made")
        repository_files.put(note, msgspec.json.encode([str(path) for path in paths]))
    elif begun != [str(path) for path in paths]:
        made = ", ".join(path for path in begun if Path(path).exists()) or "no key"
        text = f"an init that was broken off has made {made}: give the same --offline folders again"
        raise ExchangeFault(f"{text}, or delete those keys and {note} to begin anew")
    return [_key(ring, name, place) for name, place in wanted]


def _begun(note: Path) -> list[str] | None:
    try:
        return msgspec.json.decode(note.read_bytes(), type=list[str])
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as error:
        text = f"{note} cannot be read ({error}): it is left of an init that was broken off"
        raise ExchangeFault(f"{text}; delete it and the keys which that has made") from error


def _key(ring: KeyRing, name: str, place: Path) -> HeldKey:
    path = ring.place_of(name, place)
    if path.exists():
        if _END in read_private(path):
            return ring.at(path)
        path.unlink()  # whoever wrote it was killed in the middle, and nothing is signed by it
    return ring.new(name, place)
