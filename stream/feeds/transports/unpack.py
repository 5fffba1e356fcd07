"""Decompress in bounded steps: a bomb meets its limit, not our memory.

gzip (RFC 1952), deflate (RFC 1950, and RFC 1951 as some servers send it), zstd (RFC 8878), bzip2
and xz. Data may consist of several members one after the other, as their formats allow.
"""

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from stream.core.model.errors import FeedDown, FeedFault

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

STEP_BYTES = 256 * 1024
"""The largest output of one step, however small the input."""
WINDOW_LOG_MAX = 23
"""zstd decoders for the web need no window over 8 MB (RFC 9659); `zstd -22` may use 128 MB."""
XZ_MEMORY_MAX = 96 << 20
"""`xz -9` needs 65 MB to unpack; a hostile header may ask for 4 GB."""
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_XZ = b"\xfd7zXZ\0"
_BZIP2, _BZIP2_BLOCK = b"BZh", b"1AY&SY"
_MARK_BYTES = 10  # bytes that tell a packed file from a plain one


class MemberDecoder(Protocol):
    """A decoder of one member."""

    @property
    def ended(self) -> bool:
        """True if its end mark was seen."""

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        """Return at most STEP_BYTES of output, and the input that is left."""


class _Deflated:
    """zlib's decoder; `bits` choose one of the three wrappings."""

    def __init__(self, bits: int) -> None:
        self._decoder = zlib.decompressobj(bits)

    @property
    def ended(self) -> bool:
        return self._decoder.eof

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._decoder.decompress(data, STEP_BYTES)
        # Behind the end the rest is the next member's; before it, a full step left input.
        return out, self._decoder.unused_data or self._decoder.unconsumed_tail


class _EitherDeflated:
    """HTTP's "deflate": zlib (RFC 1950), or raw deflate from servers that take the name literally.

    The wrapping begins with a byte of method 8. A raw block with that byte would be a stored one
    with bits set in its padding, which no compressor writes.
    """

    def __init__(self) -> None:
        self._inner: _Deflated | None = None

    @property
    def ended(self) -> bool:
        return self._inner is not None and self._inner.ended

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        if self._inner is None:
            wrapped = data[0] & 0x0F == zlib.DEFLATED
            self._inner = _Deflated(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        return self._inner.step(data)


class _Zstd:
    def __init__(self) -> None:
        options: dict[int, int] = {DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
        self._decoder = ZstdDecompressor(options=options)

    @property
    def ended(self) -> bool:
        return self._decoder.eof

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._decoder.decompress(data, STEP_BYTES)
        return out, self._decoder.unused_data if self._decoder.eof else b""


class _Kept:
    """The decoders of bzip2 and xz: they keep the input that is left until the next step."""

    def __init__(self, decoder: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._decoder = decoder

    @property
    def ended(self) -> bool:
        return self._decoder.eof

    def step(self, data: bytes) -> tuple[bytes, bytes]:
        out = self._decoder.decompress(data, STEP_BYTES)
        return out, self._decoder.unused_data if self._decoder.eof else b""


def _bzip2() -> MemberDecoder:
    return _Kept(bz2.BZ2Decompressor())


def _xz() -> MemberDecoder:
    return _Kept(lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY_MAX))


class Plain:
    """Bytes that are not compressed."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the bytes as they are."""
        yield data

    def end(self) -> None:
        """Plain bytes may end anywhere."""


class Unpacker:
    """A decoder of all members of one compression. Messages name `origin`."""

    def __init__(self, origin: str, way: str, start: Callable[[], MemberDecoder]) -> None:
        self._origin, self._way, self._start = origin, way, start
        self._member: MemberDecoder | None = None
        self._members = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the output of more input. Raises FeedDown(NOT_COMPRESSED_RIGHT)."""
        while True:
            if self._member is None:
                if self._members and self._way in {"gzip", "xz"}:
                    data = data.lstrip(b"\0")  # files from tapes are filled up with zeros
                if not data:
                    return
                self._member = self._start()
                self._members += 1
            try:
                out, data = self._member.step(data)
            except (zlib.error, ZstdError, lzma.LZMAError, OSError) as error:  # bzip2's
                text = f"{self._origin} says that it is {self._way} and is not ({error})"
                raise FeedDown(FeedFault.NOT_COMPRESSED_RIGHT, text) from error
            if out:
                yield out
            if self._member.ended:
                self._member = None
            elif not data and len(out) < STEP_BYTES:  # a full step may have more to come
                return

    def end(self) -> None:
        """End the input. Raises FeedDown(TRUNCATED) in the middle of a member."""
        if self._member is not None:
            text = f"{self._origin} ends in the middle of its {self._way} data"
            raise FeedDown(FeedFault.TRUNCATED, text)


class ByMark:
    """A decoder of whatever begins like a gzip, zstd, bzip2 or xz file, whatever its name or type.

    Servers send `list.csv.gz` with and without a Content-Encoding, and either may mean one layer
    or two. No format of ours begins like that.
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._head = b""
        self._inner: Unpacker | Plain | None = None

    @property
    def is_packed(self) -> bool:
        """True if the file is compressed."""
        return isinstance(self._inner, Unpacker)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the output of more input."""
        if self._inner is None:
            self._head += data
            if len(self._head) < _MARK_BYTES:
                return
            data = self._choose()
        assert self._inner is not None
        yield from self._inner.feed(data)

    def rest(self) -> Iterator[bytes]:
        """Yield the rest of a file that is shorter than any mark."""
        if self._inner is None:
            yield self._choose()

    def end(self) -> None:
        """End the input. Raises FeedDown(TRUNCATED)."""
        if self._inner is not None:
            self._inner.end()

    def _choose(self) -> bytes:
        head, self._head = self._head, b""
        if head.startswith(_GZIP):
            self._inner = unpacker("gzip", self._origin)
        elif head.startswith(_ZSTD):
            self._inner = unpacker("zstd", self._origin)
        elif head.startswith(_XZ):
            self._inner = Unpacker(self._origin, "xz", _xz)
        elif head.startswith(_BZIP2) and head[4:10] == _BZIP2_BLOCK:
            self._inner = Unpacker(self._origin, "bzip2", _bzip2)
        else:
            self._inner = Plain()
        return head


def unpacker(coding: str, origin: str) -> Unpacker | Plain:
    """Return the decoder of a Content-Encoding, "": none. Raises FeedDown(PROTOCOL) for others."""
    match coding.strip().lower():
        case "" | "identity":
            return Plain()
        case "gzip" | "x-gzip":
            return Unpacker(origin, "gzip", lambda: _Deflated(zlib.MAX_WBITS | 16))
        case "deflate":
            return Unpacker(origin, "deflate", _EitherDeflated)
        case "zstd":
            return Unpacker(origin, "zstd", _Zstd)
        case other:
            text = f'{origin} is encoded as "{other[:40]}", which we did not ask for'
            raise FeedDown(FeedFault.PROTOCOL, text)
