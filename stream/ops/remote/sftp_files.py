"""Files on an SFTP server, by asyncssh. Nothing of the user's own SSH settings is read."""

import asyncio
import logging
import stat
from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import asyncssh

from stream.core.model.errors import FeedDown, FeedFault
from stream.ops.remote.remote_files import (
    PIECE,
    Login,
    RemoteAddress,
    RemoteFile,
    SftpAccess,
    changed,
    check_count,
    is_wanted,
    missing,
)

T = TypeVar("T")
_DEPTH_MAX: Final = 16
"""Folders below folders: a server may answer with one in another for ever."""
_CLOSE_S: Final = 2.0  # a server that is gone answers no goodbye
_KEY_FAULTS: Final = (asyncssh.KeyImportError, asyncssh.KeyEncryptionError)


class _Pinned(asyncssh.SSHClient):
    """Trusts the configured host keys alone; `shown` has the fingerprint of another one."""

    def __init__(self, host_keys: tuple[str, ...]) -> None:
        self._pinned = {
            key if key.startswith("SHA256:") else " ".join(key.split()[:2]) for key in host_keys
        }
        self.shown = ""

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Return whether the key is one of ours."""
        del host, addr, port
        self.shown = key.get_fingerprint()
        whole = " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])
        return not self._pinned.isdisjoint({self.shown, whole})


class SftpFiles:
    """The file or folder of `address`. See RemoteFiles.

    The connection is made when it is first needed, and again after a fault.
    """

    settles = True

    def __init__(self, address: RemoteAddress, access: SftpAccess, login: Login) -> None:
        self._address, self._access, self._login = address, access, login
        self._origin = str(address)
        # A loop of its own: readers work in threads, one call after the other.
        self._loop = asyncio.new_event_loop()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None

    def close(self) -> None:
        """Close the connection, unless a thread that was left alone still uses it."""
        if self._loop.is_running():
            return
        try:
            self._leave()
        finally:
            self._loop.close()

    def _leave(self) -> None:
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            self._loop.run_until_complete(_ended(connection))

    def listed(self) -> Iterator[RemoteFile]:
        """Yield the regular files of the folder and of those below it; no link is followed."""
        path = self._address.path
        if not self._address.is_folder:
            with self._named_faults(self._origin):
                about = self._run(self._client().stat(path))
            if stat.S_ISDIR(about.permissions or 0):
                raise missing(self._origin)
            name = path.rpartition("/")[2]
            yield _file(name, path.encode("utf-8", "surrogateescape"), about)
            return
        found: list[RemoteFile] = []
        with self._named_faults(self._origin):
            root = path.encode("utf-8", "surrogateescape")
            self._run(self._below(root, found), waits=False)
        yield from found

    async def _below(self, root: bytes, found: list[RemoteFile]) -> None:
        """List a folder and those below it; each answer may take `answer_s`."""
        folders = [(root or b"./", 0)]
        count = 0
        while folders:
            folder, depth = folders.pop()
            async for entry in self._entries(folder):
                count += 1
                check_count(count, self._origin)
                name = entry.filename
                assert isinstance(name, bytes), "as the folder's path is"
                if name in (b".", b"..") or b"/" in name:
                    continue
                path, about = folder + name, entry.attrs
                kind = stat.S_IFMT(about.permissions or 0)
                if kind == stat.S_IFDIR and depth < _DEPTH_MAX and not name.startswith(b"."):
                    folders.append((path + b"/", depth + 1))
                shown = path[len(root) :].decode("utf-8", "backslashreplace")
                if kind == stat.S_IFREG and about.size and is_wanted(shown):
                    found.append(_file(shown, path, about))

    async def _entries(self, folder: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        entries = self._client().scandir(folder)
        while True:
            async with asyncio.timeout(self._access.answer_s):
                entry = await anext(entries, None)
            if entry is None:
                return
            assert isinstance(entry, asyncssh.SFTPName), "not a None"
            yield entry

    def pieces(self, file: RemoteFile, at: int = 0) -> Generator[bytes]:
        """Yield the bytes of a file; it must be the same at the end as when it was listed."""
        origin = f"{self._origin.rstrip('/')} {file.name}"
        with self._named_faults(origin):
            # As Any: asyncssh types what it reads as text, which "rb" is not.
            opened: Any = self._run(self._client().open(file.path, "rb"))
            while at < file.size:
                piece: bytes = self._run(opened.read(min(PIECE, file.size - at), at))
                if not piece:
                    raise changed(origin)
                at += len(piece)
                yield piece
            same = _mark(self._run(opened.stat())) == file.mark
            self._run(opened.close())
            if not same:
                raise changed(origin)

    def _client(self) -> asyncssh.SFTPClient:
        assert self._sftp is not None, "named_faults connected"
        return self._sftp

    def _run(self, work: Awaitable[T], *, waits: bool = True) -> T:
        async def bounded_work() -> T:
            async with asyncio.timeout(self._access.answer_s if waits else None):
                return await work

        return self._loop.run_until_complete(bounded_work())

    async def _connect(self) -> None:
        address, access = self._address, self._access
        client = _Pinned(access.host_keys)
        # At INFO it logs user, host and every file.
        asyncssh.set_log_level(logging.WARNING)
        try:
            self._connection = await asyncssh.connect(
                address.host,
                address.port,
                client_factory=lambda: client,
                config=None,
                agent_path=None,
                # Neither known_hosts of the user nor of the machine: `client` decides.
                known_hosts=([], [], []),
                server_host_key_algs=_algorithms(access.host_keys),
                username=address.user,
                password=self._login.secret or None,
                client_keys=[access.key_file] if access.key_file else None,
                connect_timeout=access.answer_s,
                login_timeout=access.answer_s,
            )
        except asyncssh.HostKeyNotVerifiable:
            text = f"{self._origin}: the server shows another host key, {client.shown}: "
            text += "ask its owner; if it is right, add it to host_keys"
            raise FeedDown(FeedFault.CERTIFICATE, text) from None
        self._sftp = await self._connection.start_sftp_client()

    @contextmanager
    def _named_faults(self, origin: str) -> Iterator[None]:
        """Connect if need be, and rename asyncssh's exceptions.

        After a fault, and after a file that was not read to its end, the connection ends: a server
        keeps each open file.
        """
        try:
            if self._sftp is None:
                self._run(self._connect())
            yield
        except (asyncssh.Error, OSError, *_KEY_FAULTS) as error:
            self._leave()
            raise self._fault_of(origin, error) from None
        except BaseException:
            self._leave()
            raise

    def _fault_of(self, origin: str, error: Exception) -> FeedDown:
        match error:
            case asyncssh.SFTPNoSuchFile() | asyncssh.SFTPNoSuchPath():
                return missing(origin, is_folder=self._address.is_folder)
            case asyncssh.SFTPPermissionDenied():
                text = f"{origin} may not be read by this user: ask the server's owner"
                return FeedDown(FeedFault.UNAUTHORISED, text)
            case asyncssh.PermissionDenied():
                text = f"{self._origin}: the server refuses our login: look at user, key, password"
                return FeedDown(FeedFault.UNAUTHORISED, text)
            case asyncssh.KeyImportError() | asyncssh.KeyEncryptionError() | FileNotFoundError():
                text = f"key_file {self._access.key_file!r} is no private key without a pass phrase"
                return FeedDown(FeedFault.UNAUTHORISED, text)
            case TimeoutError():
                text = f"{origin} was silent for too long (answer_s)"
                return FeedDown(FeedFault.TIMEOUT, text)
            case (
                asyncssh.ProtocolError() | asyncssh.SFTPBadMessage() | asyncssh.KeyExchangeFailed()
            ):
                text = f"{origin} does not answer as SFTP does ({type(error).__name__})"
                return FeedDown(FeedFault.PROTOCOL, text)
        text = f"{origin}: the server cannot be reached ({type(error).__name__})"
        return FeedDown(FeedFault.DOWN, text)


def _algorithms(host_keys: tuple[str, ...]) -> list[str] | tuple[()]:
    """Return the algorithms to ask for: a server has several keys, and shows one."""
    kinds = {key.split()[0] for key in host_keys}
    if any(kind.startswith("SHA256:") for kind in kinds):
        return ()
    rsa = ["rsa-sha2-512", "rsa-sha2-256"] if "ssh-rsa" in kinds else []
    return [*sorted(kinds - {"ssh-rsa"}), *rsa]


def _mark(about: asyncssh.SFTPAttrs) -> str:
    return f"{about.size}:{about.mtime}"


def _file(name: str, path: bytes, about: asyncssh.SFTPAttrs) -> RemoteFile:
    return RemoteFile(name, path, about.size or 0, _mark(about), float(about.mtime or 0))


async def _ended(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    try:
        async with asyncio.timeout(_CLOSE_S):
            await connection.wait_closed()
    except TimeoutError:
        connection.abort()
