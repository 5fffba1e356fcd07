"""A backup's file: a header, and records in sealed chunks of which none can be lost or moved.

    magic     8 bytes  "RFBACKUP"
    version   u16      1; numbers are big-endian
    size      u32      of the header
    header    JSON     see `BackupHeader`
    chunks    each u32 its length, then AES-256-GCM of zstd of records

The chunks are STREAM of Hoang, Reyhanitabar, Rogaway and Vizar ("Online Authenticated-Encryption
and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015). The nonce is that of the age format
(c2sp.org/age): 11 bytes count the chunks, and the last byte is 1 in the last chunk only. So a chunk
that is altered, moved or missing is noticed, the last one too. The key is agreed as in age: X25519
between a fresh key and the named one, then HKDF-SHA256; the header's hash goes into it.
"""

import base64
import hashlib
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import cramjam
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from stream import __version__
from stream.core.model.errors import UNREADABLE, BackupUnreadable, SnapshotUnreadable
from stream.core.model.moments import rfc3339
from stream.lists.backup.backup_keys import OpeningKey, SealingKey
from stream.lists.store.bases import decompress

VERSION: Final = 1
MAGIC: Final = b"RFBACKUP"
_FRONT: Final = struct.Struct(">8sHI")
_SIZE: Final = struct.Struct(">I")
_HEADER_MAX: Final = 64 << 10
_CHUNK_BYTES: Final = 1 << 20
"""Records are sealed together from so many bytes on: memory is a few times that."""
_SEALED_MAX: Final = 64 << 20
"""A length beyond is damage: no value of the list store is so long."""
_ZSTD_LEVEL: Final = 3  # zstd's default
_TAG_BYTES: Final = 16  # of AES-256-GCM


class BackupHeader(msgspec.Struct, frozen=True):
    """Of a backup, readable without its key: the list store, when it was begun, and for which key.

    `ephemeral` is the public half of the backup's own key, in base64.
    """

    ringfence: str
    list_store: str
    begun_at_s: int
    key_name: str
    key_id: str
    ephemeral: str

    def said(self) -> str:
        """Return it on one line."""
        return (
            f"list store {self.list_store or '(empty)'}, begun {rfc3339(self.begun_at_s)} by "
            f"Ringfence {self.ringfence}, key {self.key_name} ({self.key_id})"
        )


class SealedWriter:
    """Writes records into `file`; it is whole only after `end`."""

    def __init__(self, file: BinaryIO, key: SealingKey, list_store: str, begun_at_s: int) -> None:
        own = X25519PrivateKey.generate()
        public = own.public_key().public_bytes_raw()
        told = base64.b64encode(public).decode()
        header = BackupHeader(__version__, list_store, begun_at_s, key.name, key.key_id, told)
        data = msgspec.json.encode(header)
        front = _FRONT.pack(MAGIC, VERSION, len(data)) + data
        self._file = file
        self._cipher = _cipher(own.exchange(key.public), public, key.public, front)
        self._waiting = bytearray()
        self._chunks = 0
        self.size = file.write(front)

    def add(self, record: Any) -> None:
        """Write one record."""
        data = msgspec.msgpack.encode(record)
        self._waiting += _SIZE.pack(len(data)) + data
        if len(self._waiting) >= _CHUNK_BYTES:
            self._seal(last=False)

    def end(self, trailer: Any) -> None:
        """Write the last record, in the last chunk."""
        data = msgspec.msgpack.encode(trailer)
        self._waiting += _SIZE.pack(len(data)) + data
        self._seal(last=True)

    def _seal(self, *, last: bool) -> None:
        raw = bytes(self._waiting)
        self._waiting.clear()
        packed = _SIZE.pack(len(raw)) + bytes(cramjam.zstd.compress(raw, level=_ZSTD_LEVEL))
        sealed = self._cipher.encrypt(_nonce(self._chunks, last=last), packed, None)
        self._chunks += 1
        self.size += self._file.write(_SIZE.pack(len(sealed)) + sealed)


class SealedReader:
    """Reads a backup's file, called `name` in errors. Every method may raise BackupUnreadable."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._at = 0
        front = self._read(_FRONT.size, "its first bytes")
        magic, version, size = _FRONT.unpack(front)
        if magic != MAGIC:
            raise self._wrong(0, "it is no backup of Ringfence", "name the file of a backup")
        if version > VERSION:
            what = f"it is a backup of version {version}, and this Ringfence reads up to {VERSION}"
            raise self._wrong(len(MAGIC), what, "restore it with a newer Ringfence")
        if size > _HEADER_MAX:
            raise self._damaged(len(MAGIC) + 2, "a header of impossible size")
        data = self._read(size, "its header")
        self._front = front + data
        try:
            self.header = msgspec.json.decode(data, type=BackupHeader)
            self._ephemeral = base64.b64decode(self.header.ephemeral, validate=True)
        except UNREADABLE as error:
            raise self._damaged(_FRONT.size, f"the header cannot be read ({error})") from error

    def records(self, key: OpeningKey) -> Iterator[tuple[bytes, bool]]:
        """Yield each record as it was encoded, and whether it is the last of the file."""
        cipher = self._opened_with(key)
        count, last = 0, False
        while not last:
            start = self._at
            (size,) = _SIZE.unpack(self._read(_SIZE.size, f"chunk {count}"))
            if not _TAG_BYTES < size <= _SEALED_MAX:
                raise self._damaged(start, f"chunk {count} has an impossible length")
            sealed = self._read(size, f"chunk {count}")
            packed, last = self._unsealed(cipher, sealed, count, start)
            records = self._unpacked(packed, count, start)
            if last and self._file.read(1):
                raise self._damaged(self._at, "bytes follow its last chunk")
            for place, record in enumerate(records):
                yield record, last and place == len(records) - 1
            count += 1

    def _opened_with(self, key: OpeningKey) -> AESGCM:
        header, ours = self.header, key.sealing
        if header.key_id != ours.key_id:
            what = f"it is sealed for key {header.key_name} ({header.key_id}), and "
            what += f"{ours.name} ({ours.key_id}) was given"
            raise self._wrong(_FRONT.size, what, f"give {header.key_name}.pem with --key")
        try:
            shared = key.private.exchange(X25519PublicKey.from_public_bytes(self._ephemeral))
        except ValueError as error:
            raise self._damaged(_FRONT.size, "the header's key is none") from error
        return _cipher(shared, self._ephemeral, ours.public, self._front)

    def _unsealed(
        self, cipher: AESGCM, sealed: bytes, count: int, start: int
    ) -> tuple[bytes, bool]:
        for last in (False, True):
            try:
                return cipher.decrypt(_nonce(count, last=last), sealed, None), last
            except InvalidTag:
                continue
        where = "chunk 0, or the header before it," if not count else f"chunk {count}"
        raise self._damaged(start, f"{where} was altered")

    def _unpacked(self, packed: bytes, count: int, start: int) -> list[bytes]:
        """Return the records of a chunk. It is authentic: its faults are those of its maker."""
        try:
            (size,) = _SIZE.unpack_from(packed)
            raw = decompress(packed[_SIZE.size :], min(size, _SEALED_MAX), f"chunk {count}")
            found, at = [], 0
            while at < len(raw):
                (length,) = _SIZE.unpack_from(raw, at)
                at += _SIZE.size + length
                found.append(raw[at - length : at])
        except (SnapshotUnreadable, struct.error) as error:
            raise self._damaged(start, f"chunk {count} cannot be unpacked ({error})") from error
        return found

    def _read(self, size: int, what: str) -> bytes:
        data = self._file.read(size)
        self._at += len(data)
        if len(data) < size:
            whole = f"it ends there, within {what}, and its last chunk is missing"
            raise self._wrong(self._at, whole, "take another copy: this one is cut off")
        return data

    def _damaged(self, at: int, what: str) -> BackupUnreadable:
        return self._wrong(at, what, "take another copy: this one is damaged")

    def _wrong(self, at: int, what: str, todo: str) -> BackupUnreadable:
        return BackupUnreadable(f"{self._name}: byte {at}: {what}. Nothing was restored; {todo}.")


def _cipher(shared: bytes, ephemeral: bytes, public: X25519PublicKey, front: bytes) -> AESGCM:
    salt = ephemeral + public.public_bytes_raw()
    info = b"ringfence backup 1 " + hashlib.sha256(front).digest()
    return AESGCM(HKDF(SHA256(), 32, salt, info).derive(shared))


def _nonce(count: int, *, last: bool) -> bytes:
    return count.to_bytes(11, "big") + (b"\1" if last else b"\0")
