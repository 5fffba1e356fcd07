"""A drop folder: partners put files in, each is one version, and none is taken twice or lost.

A finished file is taken, in the order of the files' times. It stays in place until its verdict is
kept; then it moves to `done/`, `held/` or `refused/` with its report beside it. So a kill at any
moment leaves it in exactly one place. A file that was accepted before the kill is recognised by its
name and mark, which are remembered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.drop_folder import ENDINGS, DropPlace, companion_of, prepare, put_away
from stream.feeds.transports.file import copied, made_s, mark_of, readable, unreadable, unstable
from stream.feeds.transports.intake import checked, checksum_in
from stream.feeds.transports.own_thread import OwnThread, Stop
from stream.feeds.transports.transport import BYTES_MAX, BytesMax, Fetched, Seconds, Unchanged
from stream.ops.clock import monotonic_s, now_s
from stream.ops.schema.checks import filled
from stream.ops.schema.toml import Between, Checked
from stream.ops.untrusted_folders import UNFINISHED, Folder, NotPlain, folder_at

_CHECKSUM_BYTES_MAX = 1 << 20
"""A checksum file has 100 bytes. Another file of that name may have any size."""
_PASSING = (FeedFault.UNSTABLE, FeedFault.MISSING, FeedFault.UNAUTHORISED, FeedFault.DOWN)
"""Faults that may be over at the next try. A file with another fault would block those after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropFolderSettings:
    """`path` of the folder, `pattern` of the names that count.

    A file is finished if it was not written to for `settle_s`, or was renamed from an unfinished
    name. With `companion` a file with this ending must lie beside it too. A `.sha256` beside it is
    always checked.
    """

    path: Annotated[str, Checked(filled)]
    pattern: Annotated[str, Checked(filled)] = "*"
    settle_s: Annotated[float, Between(0, 86_400)] = 5.0
    companion: Literal["", ".done", ".sha256"] = ""
    bytes_max: BytesMax = BYTES_MAX
    deadline_s: Seconds = 300.0


class _Found(NamedTuple):
    """A finished file. Files sort by their time."""

    made_ns: int
    name: str
    mark: str

    @property
    def taken(self) -> str:
        """The key by which a taken file is remembered."""
        return f"{readable(self.name)}/{self.mark}"


class FolderTransport:
    """One feed's drop folder."""

    def __init__(self, settings: DropFolderSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.path)
        self._taking: OwnThread[Fetched | Unchanged] = OwnThread(settings.path, settings.deadline_s)
        self._moving: OwnThread[None] = OwnThread(settings.path, settings.deadline_s)
        self._seen: dict[str, tuple[str, float]] = {}
        self._unfinished: set[str] = set()

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Take the oldest finished file; return Unchanged if there is none. Raises FeedDown.

        A file that can never be taken moves to `refused/` before FeedDown says why.
        """
        return await self._taking(lambda stop: self._fetch(remembered, into, stop))

    async def finish(
        self, fetched: Fetched, place: DropPlace, report: Mapping[str, object], text: str
    ) -> None:
        """Move a fetched file, also from `held/`, once its verdict is kept.

        `report` becomes the JSON beside it, `text` the report for people. Raises FeedDown: then the
        file is still there. If it was accepted, the next `fetch` moves it.
        """
        taken = fetched.remember["taken"]
        await self._moving(lambda _stop: self._put_away(taken, place, report, text))

    def _fetch(self, remembered: Mapping[str, str], into: Path, stop: Stop) -> Fetched | Unchanged:
        try:
            prepare(self._folder)
        except OSError as error:
            raise self._unusable(error) from error
        for found in sorted(self._finished()):
            if remembered.get("taken") == found.taken:
                text = "This version was accepted before; Ringfence ended before it moved it.\n"
                self._put_away(found.taken, DropPlace.DONE, {"repeated": True}, text)
                continue
            try:
                return self._take(found, into, stop)
            except FeedDown as fault:
                if fault.reason not in _PASSING:
                    why = {"reason": fault.reason.value, "detail": fault.detail}
                    said = f"{fault.detail}\n"
                    self._put_away(found.taken, DropPlace.REFUSED, why, said)
                raise
        return Unchanged(remembered)

    def _finished(self) -> Iterator[_Found]:
        seen, unfinished = {}, set()
        now_monotonic_s = monotonic_s()
        try:
            with folder_at(self._folder) as folder:
                found = folder.found()
        except OSError as error:
            raise self._unusable(error) from error
        plain = {one.name for one in found if one.is_plain}
        for name, about in found:
            if name not in plain or name.startswith(".") or name.endswith(ENDINGS):
                continue
            mark = mark_of(about)
            inode = mark.rpartition(":")[2]
            if name.endswith(UNFINISHED):
                unfinished.add(inode)
                continue
            if not fnmatch(name, self._settings.pattern):
                continue
            before, since_s = self._seen.get(name, ("", 0.0))
            seen[name] = (mark, since_s if before == mark else now_monotonic_s)
            # By our own watch or by the file's time: clocks of two machines may differ.
            quiet_s = max(now_monotonic_s - seen[name][1], now_s() - made_s(mark))
            # A renamed file is finished: its inode was seen under an unfinished name.
            settled = quiet_s >= self._settings.settle_s or inode in self._unfinished
            ending = self._settings.companion
            if settled and (not ending or f"{name}{ending}" in plain):
                yield _Found(int(mark.partition(":")[0]), name, mark)
            elif inode in self._unfinished:
                unfinished.add(inode)
        self._seen, self._unfinished = seen, unfinished

    def _take(self, found: _Found, into: Path, stop: Stop) -> Fetched:
        name, path, most = found.name, self._folder / found.name, self._settings.bytes_max
        try:
            with folder_at(self._folder) as folder:
                expected = self._checksum(folder, name)
                # A user who may write here could put a link in its place now, to have another file
                # read.
                copy = copied(path, into, most, stop, lambda: folder.open(name))
                about = folder.about(name)
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            if about is None or mark_of(about) != found.mark:
                raise unstable(path)
            if expected is not None:
                checked(copy.published_sha256, expected, readable(path))
        except FeedDown:
            into.unlink()
            raise
        remember, as_of_s = {"taken": found.taken}, made_s(found.mark)
        return Fetched(
            into, copy.size, copy.sha256, remember, as_of_s=as_of_s, origin=readable(path)
        )

    def _checksum(self, folder: Folder, name: str) -> str | None:
        beside = companion_of(folder, name, ".sha256")
        if beside is None:
            return None
        origin = readable(self._folder / beside)
        try:
            text = folder.read(beside, _CHECKSUM_BYTES_MAX).decode("utf-8", "replace")
        except NotPlain as error:
            # CHECKSUM is no passing fault: the file moves away, and a later look finds nothing.
            raise FeedDown(FeedFault.CHECKSUM, f"{origin} {error.strerror}") from error
        except OSError as error:
            raise unreadable(self._folder / beside, error) from error
        return checksum_in(text, name, origin)

    def _put_away(
        self, taken: str, place: DropPlace, report: Mapping[str, object], text: str
    ) -> None:
        name, _, mark = taken.rpartition("/")
        try:
            put_away(self._folder, name, mark, place, report, text)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> FeedDown:
        if isinstance(error, PermissionError):
            where = readable(error.filename or self._folder)
            text = f"{where}: Ringfence must be allowed to read, write and move files there"
            return FeedDown(FeedFault.UNAUTHORISED, text)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return FeedDown(FeedFault.MISSING, f"{self._folder} is no folder: make it")
        where = readable(error.filename or self._folder)
        if isinstance(error, NotPlain):
            text = f"{where} {error.strerror}: Ringfence makes its own; remove this one"
            return FeedDown(FeedFault.DOWN, text)
        return FeedDown(FeedFault.DOWN, f"{where} cannot be used: {error.strerror}")
