"""The whole of a backup and of a restore, at the list store of some settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from stream.core.model.moments import rfc3339
from stream.lists.backup.backup_keys import OpeningKey, SealingKey
from stream.lists.backup.backup_records import BackupSummary
from stream.lists.backup.copy_store import StoreCopy
from stream.lists.backup.newer_states import FollowerState, PutBack, put_back
from stream.lists.backup.restore_store import CheckedBackup, checked, restore
from stream.lists.backup.sealed_file import BackupHeader, SealedReader, SealedWriter
from stream.lists.store import redis_keys
from stream.lists.store.heads import By, no_progress
from stream.lists.store.list_store import ListStore
from stream.lists.store.redis_client import (
    Closing,
    check_format,
    check_safe,
    client,
    look_at,
    renamed,
)
from stream.lists.store.rewrite import Stage
from stream.lists.store.settings import ListStoreSettings
from stream.ops import stored_format
from stream.ops.stored_format import LIST_STORE

SWAP_WAIT_S = 120.0
"""One script moves every key of a restore, and Redis answers when all of it is done."""


@dataclass(frozen=True, slots=True)
class BackupSource:
    """The file of a backup, its name in errors, the key, and what it was found to hold."""

    file: BinaryIO
    name: str
    key: OpeningKey
    header: BackupHeader
    whole: CheckedBackup

    @property
    def summary(self) -> BackupSummary:
        """The last record of the backup."""
        return self.whole.summary


def open_backup(file: BinaryIO, name: str, key: OpeningKey) -> BackupSource:
    """Read a backup to its end. Raises BackupUnreadable where a byte of it is not as written.

    Raises FormatNewer for a list store of a newer Ringfence.
    """
    whole = checked(file, name, key)
    stored_format.check_number(f"the list store in {name}", whole.summary.format, LIST_STORE)
    file.seek(0)
    return BackupSource(file, name, key, SealedReader(file, name).header, whole)


async def make_backup(
    settings: ListStoreSettings,
    key: SealingKey,
    file: BinaryIO,
    now_s: int,
    stage: Stage = no_progress,
) -> tuple[BackupSummary, int]:
    """Write a backup into `file`; return what it holds, and its bytes.

    Raises ListStoreDown; ChangeConflict where the list store changes too fast.
    """
    redis = client(settings)
    async with Closing(redis):
        await look_at(redis, settings)
        with renamed("reading which list store it is"):
            identity: Any = await redis.hget(redis_keys.IDENTITY, "id")
        writer = SealedWriter(file, key, (identity or b"").decode(errors="replace"), now_s)
        copy = StoreCopy(redis, writer.add, lambda done, whole: stage("copying", done, whole))
        summary = await copy.run()
        writer.end(summary)
        return summary, writer.size


async def restore_backup(
    settings: ListStoreSettings,
    source: BackupSource,
    followers: Sequence[FollowerState],
    by: By,
    now_s: int,
    stage: Stage = no_progress,
    *,
    replace: bool,
) -> PutBack:
    """Put a backup into the list store, then what `followers` know beyond it.

    Raises RestoreRefused, ListStoreDown, ListStoreUnsafe.
    """
    redis, whole = client(settings, SWAP_WAIT_S), source.whole
    async with Closing(redis):
        await check_safe(redis, settings)
        await check_format(redis)
        await restore(redis, source.file, source.name, source.key, whole, replace=replace)
    async with await ListStore.connect(settings) as store:
        moment = rfc3339(whole.summary.moment_ms // 1000)
        await store.note("restore", f"a backup as of {moment}", by)
    return await put_back(settings, followers, whole.summary, by, now_s, stage)
