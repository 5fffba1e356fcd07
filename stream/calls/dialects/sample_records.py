"""Records in a file or a body: JSON lines, arrays, objects over many lines, CSV lines. Pure."""

import json
from collections.abc import Iterator

import msgspec

_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_SPACE = " \t\r\n"


def records_in(data: bytes) -> list[bytes]:
    """The records in `data`, in their order, each as a Kafka record would have it.

    What is neither JSON nor a form is a record a line, empty lines aside. Never raises.
    """
    text = data.removeprefix(b"\xef\xbb\xbf").strip()
    if text[:1] == b"[":
        try:
            return [bytes(raw) for raw in _decode_array(text)]
        except msgspec.DecodeError:
            return _lines(text)
    if text[:1] == b"{":
        lines = _lines(text)
        if all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
            return lines
        try:
            return list(_objects(text.decode()))
        except ValueError:  # UnicodeDecodeError and JSONDecodeError are
            return lines
    return _lines(text)


def _lines(text: bytes) -> list[bytes]:
    return [line for line in map(bytes.strip, text.split(b"\n")) if line]


def _objects(text: str) -> Iterator[bytes]:
    """JSON values one behind the other, however they are broken into lines."""
    decoder = json.JSONDecoder()
    at = 0
    while at < len(text):
        _, end = decoder.raw_decode(text, at)
        yield text[at:end].encode()
        while end < len(text) and text[end] in _SPACE:
            end += 1
        at = end
