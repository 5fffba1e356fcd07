"""The lists of a bench, as the engine keeps them: a state directory, made once and cached.

Lists are `BENCH/00` to `BENCH/63`, disjoint, 1M numbers each, in the plain circle; built by
`snapshot/build.py` and put into the state directory as a worker does it. The list store is
not part of it, except for the change bench, which loads these very snapshots into one.
"""

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from stream.core.filters.blocklists import Blocklists, fresh
from stream.core.filters.snapshot import FILTER_PART
from stream.core.model.allowlist import NOBODY
from stream.core.model.entry import NEVER, Category
from stream.lists.follower.snapshot_directory import last_good, list_folder, write_snapshot
from stream.lists.follower.table_cache import table_for
from stream.lists.snapshot.build import Version, build_snapshot
from stream.ops.kernels import FOLDER as KERNELS
from stream.ops.kernels import warm_up
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.process import ROOT
from tests.bench.traffic import list_numbers
from tests.support.builders import columns_of

OWNER = "BENCH"
GENERATION = 2
"""The first that a new list's first base can have: creating the list is the first change."""
REPORTED_AT_S = 1_764_000_000
NOW_S = REPORTED_AT_S + 60
"""A minute after all of it was reported."""


def list_name(index: int) -> str:
    """The name of list `index`."""
    return f"{OWNER}/{index:02d}"


def state_dir(lab: Lab, lists: int | None = None) -> Path:
    """A state directory with the first `lists` lists (default: all of the scale's)."""
    count = lab.scale.lists if lists is None else lists
    folder = lab.folder / f"state-{count}"
    good = last_good(folder)
    if set(good.snapshots) == {list_name(i) for i in range(count)} and not good.refused:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    lab.say(f"Building {count} lists of {lab.scale.numbers:,} numbers (once; cached)")
    folder.mkdir(parents=True)
    # Spawned, so that no thread of the harness is copied; two at a time, one a core.
    with (
        on_core(lab.cores.broker, lab.cores.engine),
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
    ):
        made = [pool.submit(_build, folder, index, lab.scale.numbers) for index in range(count)]
        for future in made:
            future.result()
    return folder


def bloom_file(lab: Lab) -> Path:
    """The pybloom-live file of list 0, for peers that know nothing of ours."""
    return snapshot_folder(state_dir(lab), 0) / FILTER_PART


def snapshot_folder(state: Path, index: int) -> Path:
    """Where the snapshot of list `index` lies."""
    generation = last_good(state).snapshots[list_name(index)].manifest.generation
    return list_folder(state, list_name(index)) / f"{generation:012d}"


def linked(state: Path, to: Path, *, tables: bool) -> Path:
    """A state directory of its own for one engine, by hard links; with the compiled tables or not.

    Snapshots and tables are never written to once they are there, so links are as good as copies.
    """

    def left_out(_: str, names: list[str]) -> list[str]:
        return [name for name in names if name == "tables" and not tables]

    shutil.copytree(state, to, copy_function=lambda a, b: Path(b).hardlink_to(a), ignore=left_out)
    return to


def _build(folder: Path, index: int, count: int) -> None:
    warm_up(ROOT / "state" / KERNELS, may_compile=False)
    numbers = np.array([b"+%d" % digits for digits in list_numbers(index, count).tolist()], "S16")
    times = {"reported_at": REPORTED_AT_S, "expires_at": NEVER}
    fields = {"category": Category.CALL_CENTRE, "confidence": 90, **times}
    columns = columns_of(numbers, b"", ("bench",), **fields)
    version = Version(OWNER, f"{index:02d}", GENERATION, "plain", b"", "")
    write_snapshot(folder, build_snapshot(version, columns, REPORTED_AT_S), key=b"")


def blocklists(lab: Lab, count: int) -> Blocklists:
    """The first lists, at most `count`, in this process."""
    folder = state_dir(lab, min(count, lab.scale.lists))
    held = last_good(folder).snapshots
    lives = [fresh(name, b"", snapshot, NOW_S) for name, snapshot in held.items()]
    return Blocklists.of(lives, NOBODY, lambda group: table_for(folder, group))
