"""Whose files are: what another user makes where a service keeps its state, the service cannot use.

`feeds pull` as root beside a unit that runs as `ringfence` leaves locks and versions that the unit
may neither open nor remove. So who is not the folder's owner makes no file there, and what was made
is named with its owner.
"""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

ROOT = 0


def user_of(uid: int) -> str:
    """The user's name; its number where it has none (also of a unit's DynamicUser that stopped)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"  # as sudo takes it


def stranger_to(folder: Path) -> str:
    """The owner of `folder`, if files that we make there were not the owner's; "": they are fine.

    A folder that we may write to as its group does is ours to use: volumes of Kubernetes belong to
    root. Root may write anywhere, and what it makes is root's. Raises OSError.
    """
    try:
        found = folder.stat()
    except FileNotFoundError:
        return ""
    me = os.geteuid()
    if found.st_uid == me or (me != ROOT and os.access(folder, os.W_OK | os.X_OK)):
        return ""
    return user_of(found.st_uid)


def foreign(paths: Iterable[Path], uid: int) -> tuple[Path, str] | None:
    """The first of `paths` that another user than `uid` made, and who; None: there is none."""
    for path in paths:
        try:
            found = path.lstat().st_uid
        except FileNotFoundError:
            continue
        if found != uid:
            return path, user_of(found)
    return None


def run_as(owner: str, command: str) -> str:
    """How a command is run as a folder's owner."""
    user = f"'{owner}'" if owner.startswith("#") else owner
    return f"sudo -u {user} {command}"
