"""One version of one feed as a job for a process of its own."""

import asyncio
import pickle
from dataclasses import dataclass
from pathlib import Path

from stream.feeds.apply import take_in
from stream.feeds.assess import Arrival, Surroundings
from stream.feeds.feed import Feed, VersionRecord
from stream.feeds.state_store import FeedBook
from stream.feeds.subprocess_job import Limits, WorkFailed, apart
from stream.feeds.version_files import Versions
from stream.lists.store.list_store import Register
from stream.lists.store.settings import RegisterSettings
from stream.ops.clock import now_s
from stream.ops.kernels import FOLDER, warm_up

LARGE_BYTES = 8 << 20
"""From here on the compiled kernels are worth the 0.6 s that they take to load, if a worker on this
machine has compiled them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedJob:
    """All that is needed to let a version in, or not."""

    register: RegisterSettings
    state_dir: Path
    feed: Feed
    arrival: Arrival
    around: Surroundings


async def done_apart(job: FeedJob, limits: Limits, *, within_s: float) -> VersionRecord:
    """What became of the version. Raises WorkFailed, which names it."""
    # Both ends are this program; nothing from outside is ever unpickled.
    try:
        answer = await apart(_work, pickle.dumps(job), limits, within_s=within_s)
    except WorkFailed as failed:
        fetched = job.arrival.fetched
        origin = f" of {fetched.origin}" if fetched.origin else ""
        what = f"version {job.arrival.id}{origin}, {fetched.size:,} bytes"
        raise failed.of(what) from failed
    record: VersionRecord = pickle.loads(answer)  # noqa: S301
    return record


def _work(packed: bytes) -> bytes:
    job: FeedJob = pickle.loads(packed)  # noqa: S301
    if job.arrival.fetched.size >= LARGE_BYTES:
        warm_up(job.state_dir / FOLDER, may_compile=False)
    return pickle.dumps(asyncio.run(_take_in(job)))


async def _take_in(job: FeedJob) -> VersionRecord:
    versions = Versions(job.state_dir, job.feed.name)
    async with (
        await Register.connect(job.register) as register,
        FeedBook.open(job.register) as book,
    ):
        with versions.deciding():
            return await take_in(
                register, book, versions, job.feed, job.arrival, job.around, now_s()
            )
