"""Assets of pages: one stylesheet, small scripts, and uPlot 1.6.32 (MIT) for charts. No build step.

An asset's address holds a hash of its content, so it is kept for a year and never out of date. All
are read once, and compressed once.

uplot.js and uplot.css are `dist/uPlot.iife.min.js` and `dist/uPlot.min.css` of the npm package
`uplot` 1.6.32, unchanged; `SHA256` below is what they have to be.
"""

import gzip
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

SHA256: Final = {
    "uplot.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uplot.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
"""Of what others made and we only pass on."""
PREFIX: Final = "/assets"
_TYPES: Final = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}
_HASH_CHARS: Final = 12  # in the address: a changed file gets another one, so browsers may keep it


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, and its name with the hash in it."""

    address: str
    media_type: str
    data: bytes
    compressed: bytes


def _read() -> dict[str, Asset]:
    """Return all files beside this one that are no code, by their plain names."""
    found = {}
    for file in resources.files(__name__).iterdir():
        stem, _, ending = file.name.rpartition(".")
        if ending in _TYPES:
            data = file.read_bytes()
            digest = hashlib.sha256(data).hexdigest()[:_HASH_CHARS]
            address = f"{PREFIX}/{stem}.{digest}.{ending}"
            packed = gzip.compress(data, 9, mtime=0)
            found[file.name] = Asset(address, _TYPES[ending], data, packed)
    return found


ASSETS: Final = _read()
BY_ADDRESS: Final = {asset.address: asset for asset in ASSETS.values()}


def asset(name: str) -> str:
    """Return the address of a file, for templates."""
    return ASSETS[name].address
