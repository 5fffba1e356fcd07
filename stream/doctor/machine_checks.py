"""This machine: state directory, disk, versions, kernels, open files, ports."""

import os
import re
import resource
import shutil
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from stream import __version__
from stream.config.bundled_files import location
from stream.config.sections import OpsSection
from stream.core.filters.blocklists import LiveList, chance_of
from stream.core.filters.bloom import RATE_MAX
from stream.core.model import names
from stream.core.model.errors import FormatNewer, SnapshotUnreadable
from stream.doctor.result import CheckLine, fail, ok, warn
from stream.lists.follower import local_state
from stream.lists.store.heads import ListHead
from stream.ops.clock import now_s
from stream.ops.kernels import warm_up
from stream.ops.schema.durations import spelled
from stream.ops.stored_format import check_folder

FILES_MIN = 4096
"""Sockets of a few thousand clients; below it `serve` runs out first."""
FREE_WARN, FREE_FAIL = 2 * 1024**3, 256 * 1024**2
"""Bytes free where snapshots are written: a large list's is 1 GB, and two are kept."""
PYTHON_MIN = (3, 11)
"""As pyproject.toml has it."""


def check_state(folder: Path) -> Iterator[CheckLine]:
    """Check the state directory `folder`: ours, writable, with room."""
    if not folder.is_dir():
        yield warn("state directory", f"{folder} is not there yet", "ringfence run makes it")
        return
    try:
        check_folder(folder)
    except FormatNewer as newer:
        yield fail("state directory", str(newer), "ringfence --version, on this machine")
    found = folder.stat()
    if found.st_mode & stat.S_IWOTH:
        yield fail("state directory", f"anybody may write {folder}", f"chmod o-w {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        fix = f"chown -R $(id -un) {folder}"
        yield fail("state directory", f"{folder} cannot be written by us", fix)
    elif found.st_uid != os.geteuid():
        said = f"{folder} belongs to user {found.st_uid}, and this is {os.geteuid()}"
        yield warn("state directory", said, "run doctor as the engine's user")
    else:
        yield ok("state directory", f"{folder} is ours")
    yield space_line(folder, shutil.disk_usage(folder).free)


def space_line(folder: Path, free: int) -> CheckLine:
    """Check the room for more snapshots."""
    said = f"{free / 1e9:,.1f} GB free at {folder}"
    if free < FREE_FAIL:
        return fail("disk", said, f"df -h {folder}; [lists] generations_kept, state_dir")
    if free < FREE_WARN:
        return warn("disk", said, f"df -h {folder}; [lists] generations_kept, state_dir")
    return ok("disk", said)


def name_lines(known: Collection[str]) -> Iterator[CheckLine]:
    """List names that are no longer allowed or look alike: older than the rule for names."""
    fix = "export it, import that into a list with a right name, then ringfence lists delete it"
    for name in sorted(known):
        if (wrong := names.wrong(names.NameKind.LIST, name)) is not None:
            yield warn("list names", f'"{name}" {wrong}', fix)
        elif (other := names.alike(name, known)) is not None:
            said = f"{name} and {other} differ by capitals alone: people correct the wrong one"
            yield warn("list names", said, fix)


def check_snapshots(
    folder: Path, keys: Mapping[str, bytes], heads: dict[str, ListHead] | None
) -> Iterator[CheckLine]:
    """Verify the lists in `folder`; compare them with the list store (None: it is away)."""
    if not folder.is_dir():
        return
    try:
        known = local_state.known(folder)
        held, refused = local_state.last_good(folder, keys, known.synced_at_s)
    except FormatNewer:
        return  # the check of the directory has said so
    except SnapshotUnreadable as fault:
        fix = f"rm {folder}/register.json; ringfence run reads it again"
        yield fail("lists here", str(fault), fix)
        return
    for where, why in refused.items():
        fix = f"rm -r {where}" if Path(where).exists() else "ringfence circle list"
        yield fail("lists here", f"{where}: {why}", fix)
    said = {name: one.mark.generation for name, one in held.items()}
    yield from behind_lines(said, heads)
    yield chance_line(one.live for one in held.values())
    if known.synced_at_s:
        age_s = max(0, now_s() - known.synced_at_s)
        line = f"they last agreed with the list store {spelled(age_s)} ago"
        stale = age_s > 300
        yield warn("lists here", line, "ringfence run") if stale else ok("lists here", line)


def chance_line(held: Iterable[LiveList]) -> CheckLine:
    """Check how many numbers lists without entries match by chance, all together."""
    lists = list(held)
    chance = chance_of(lists)
    bare = [one.name for one in lists if one.snapshot is not None and one.snapshot.columns is None]
    said = f"{len(bare)} lists without entries match {chance:.2g} of all numbers by chance"
    if chance > RATE_MAX:
        fix = f"ask for fingerprints, or smaller error rates: {', '.join(sorted(bare))}"
        return warn("lists here", said, fix)
    return ok("lists here", said)


def behind_lines(here: dict[str, int], heads: dict[str, ListHead] | None) -> Iterator[CheckLine]:
    """List what is not here, or older than in the list store."""
    if heads is None:
        yield warn("lists here", f"{len(here)}; the list store cannot be asked", "see redis")
        return
    missing = sorted(set(heads) - set(here))
    late = {n: heads[n].generation - here[n] for n in here if n in heads}
    late = {name: count for name, count in late.items() if count > 0}
    if missing:
        yield warn("lists here", f"not here yet: {', '.join(missing)}", "ringfence run")
    for name, count in late.items():
        yield warn("lists here", f"{name} is {count} generations behind", "ringfence run")
    if not missing and not late:
        yield ok("lists here", f"{len(here)} verified, as the list store has them")


def check_versions(ops: OpsSection, state_dir: Path) -> Iterator[CheckLine]:
    """Check Python, packages against the lock, and kernels."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_MIN:
        yield fail("python", f"{python}, 3.11 is the least", "make setup")
    yield ok("versions", f"ringfence {__version__}, Python {python}")
    lock = location("settings").parents[1] / "requirements.txt"
    yield packages_line(lock.read_text() if lock.is_file() else "")
    if ops.kernels == "off":
        yield warn("kernels", "are off: several times the CPU", '[ops] kernels = "auto"')
        return
    folder = ops.kernels_folder(str(state_dir))
    compiled = folder.is_dir()
    why_not = warm_up(folder, may_compile=False).why_not if compiled else "none are compiled yet"
    if why_not:
        yield warn("kernels", why_not, "ringfence warm")
    else:
        yield ok("kernels", "are compiled")


def packages_line(lock: str) -> CheckLine:
    """Compare the packages with the lock file."""
    if not lock:
        return ok("packages", "no lock file beside this installation to compare with")
    others = []
    locked: dict[str, set[str]] = {}  # a package may be locked differently for each Python
    for name, text in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", lock, re.MULTILINE):
        locked.setdefault(name, set()).add(text)
    for name, versions in locked.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue  # of an extra, or another system's
        if found not in versions:
            others.append(f"{name} {found}, locked {' or '.join(sorted(versions))}")
    if others:
        return warn("packages", "; ".join(others), "make setup")
    return ok("packages", "as locked")


def check_files() -> Iterator[CheckLine]:
    """Check how many files and connections a process may have open."""
    yield files_line(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def files_line(limit: int) -> CheckLine:
    """Return the limit of open files."""
    if limit == resource.RLIM_INFINITY or limit >= FILES_MIN:
        return ok("open files", f"{limit} may be open")
    fix = "LimitNOFILE=65536 in the unit, ulimit -n 65536 in a shell"
    return warn("open files", f"only {limit} may be open", fix)
