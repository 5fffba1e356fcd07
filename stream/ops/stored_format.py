"""Numbers of formats that we keep: what is newer than we know is refused, and not touched.

A folder has its number in `format.json`. One without it is of before formats were numbered, and
has format 1. `LIST_STORE` and `POSITIONS` are kept in their stores themselves.
"""

import os
from pathlib import Path
from typing import Final

import msgspec

from stream import __version__
from stream.core.model.errors import UNREADABLE, FormatNewer

STATE_DIR: Final = 1
"""Of `[lists] state_dir`: snapshots, change logs, allowlist, promotions, versions of feeds."""
LIST_STORE: Final = 1
"""Of the list store: field `format` of its identity."""
POSITIONS: Final = 1
"""Of a position of `ingest`: row `version` of its table `about`."""
FILE: Final = "format.json"


class _FormatMark(msgspec.Struct, frozen=True):
    """The number of a folder's format, and the Ringfence that wrote it."""

    format: int
    ringfence: str = ""


def check_number(place: str, number: str | int | None, known: int) -> None:
    """Raise FormatNewer where `number`, as `place` has it, is beyond `known`; None is 1."""
    text = str(number if number not in (None, "") else 1)
    if not text.isdigit() or int(text) > known:
        raise FormatNewer(
            f"{place} has format {text[:20]}, and Ringfence {__version__} reads up to {known}. "
            "Nothing was changed: run the newer Ringfence that wrote it, or name another place"
        )


def check_folder(folder: Path, known: int = STATE_DIR) -> None:
    """Raise FormatNewer where a newer Ringfence wrote `folder`; a mark that is damaged is none."""
    try:
        mark = msgspec.json.decode((folder / FILE).read_bytes(), type=_FormatMark)
    except (OSError, *UNREADABLE):
        return
    check_number(str(folder), mark.format, known)


def mark_folder(folder: Path, known: int = STATE_DIR) -> None:
    """Write the number of our format into `folder`, once. Raises OSError."""
    path = folder / FILE
    if path.exists():
        return
    aside = folder / f".writing-{FILE}-{os.getpid()}"
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(_FormatMark(known, __version__)))
    aside.rename(path)
