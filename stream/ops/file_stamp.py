"""Whether a file was written since it was looked at."""

from pathlib import Path


def mark_of(path: Path) -> tuple[int, int]:
    """What changes when a file is written; (0, 0): it cannot be looked at."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
