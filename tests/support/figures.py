"""Results of campaigns, one JSON file each: the page "How we know" is generated from them.

`build/campaign/kills.json` holds the parts of a campaign, which may run in processes of their own:

    {"campaign": "kills", "parts": {"at_least_once": {
        "at": "2026-11-29T22:58:00Z", "commit": "6d9ab1...", "figures": {"rounds": 20, "lost": 0}}}}

A later run of a part replaces its figures; other parts stay, with the commit that they ran on.
"""

import fcntl
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "campaign"
WHOLE = "whole"
"""The part of a campaign that has only one."""


def _commit() -> str:
    """Return the commit of this tree, with "-dirty" for changes that no commit holds."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    words = [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


# Once, before any test: a test may start git only where it is marked so (plugins/programs.py).
COMMIT = _commit()


def together(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of several runs as those of one: sums, and the longest of the longest."""
    names = dict.fromkeys(name for part in parts for name in part)
    whole: dict[str, Any] = {}
    for name in names:
        held = [part[name] for part in parts if name in part]
        if isinstance(held[0], Mapping):
            whole[name] = together(held)
        else:
            whole[name] = max(held) if name.startswith("longest_") else sum(held)
    return whole


def record(
    campaign: str,
    figures: Mapping[str, object],
    part: str = WHOLE,
    *,
    folder: Path = FOLDER,
    commit: str = COMMIT,
) -> None:
    """Keep the figures of one part of a campaign, units at the end of their names (`longest_s`).

    Call it before the assertions: a figure that failed is a figure too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{campaign}.json"
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # A lock of its own: the file itself is replaced as a whole, and never read half.
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held = json.loads(path.read_text()) if path.exists() else {"parts": {}}
        parts = {**held["parts"], part: {"at": at, "commit": commit, "figures": dict(figures)}}
        aside = path.with_suffix(".new")
        text = json.dumps({"campaign": campaign, "parts": parts}, indent=1, sort_keys=True)
        aside.write_text(text + "\n")
        aside.replace(path)
