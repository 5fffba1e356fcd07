"""Ids of preloaded blocks, which no call led to: the number itself, encrypted.

A preloaded key may stop a call, and its id is what the caller's carrier asks about. There can be
millions, so none is stored. Without the key, nobody can read a number out of an id. Nor can anybody
make the id of a number to ask whether it is listed.

The cipher is a Feistel network over 64 bits (Luby and Rackoff, 1988) whose round function is AES.
Thirteen bits stay 0. Another id passes for one of these with a chance of 1 in 8192, and shows
something only if its number is blocked.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

KEY_BYTES: Final = 16  # of AES-128
_ROUNDS: Final = 10
"""Luby and Rackoff need four; the others are margin."""
_SIGNS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32, as in other ids."""
_LENGTH: Final = 13  # 13 characters of 5 bits hold 64 bits
_LETTERS: Final = np.frombuffer(_SIGNS.encode(), np.uint8)
_SHIFTS: Final = np.arange(60, -1, -5, dtype=np.uint64)
_NUMBERS: Final = 10**15
"""E.164 has 15 digits at most: 50 bits, so bit 50 can mark a prefix."""
_PREFIX: Final = 1 << 50  # above 10^15: no number of 15 digits has this bit
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)


class NumberIds:
    """Ids under one key of `KEY_BYTES`."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - one block

    def ids(self, texts: Sequence[str]) -> list[str]:
        """Return the ids of numbers ("+66812345678") and prefixes ("+8552390*")."""
        codes = [
            int(text[1:-1]) | _PREFIX if text.endswith("*") else int(text[1:]) for text in texts
        ]
        blocks = self._turned(np.array(codes, np.uint64), range(_ROUNDS))
        letters = _LETTERS[(blocks[:, None] >> _SHIFTS) & np.uint64(31)]
        ids: list[str] = letters.reshape(-1).view(f"S{_LENGTH}").astype(str).tolist()
        return ids

    def text(self, decision_id: str) -> str | None:
        """Return the number or prefix of this id; None: it is no id of this key."""
        places = [_SIGNS.find(sign) for sign in decision_id]
        if len(places) != _LENGTH or -1 in places or places[0] > 15:
            return None
        block = sum(place << 60 - 5 * index for index, place in enumerate(places))
        # Halves swapped, rounds backwards: then the network is its own inverse.
        swapped = np.array([block >> 32 | (block & 0xFFFFFFFF) << 32], np.uint64)
        turned = int(self._turned(swapped, range(_ROUNDS - 1, -1, -1))[0])
        code = turned >> 32 | (turned & 0xFFFFFFFF) << 32
        number = code & ~_PREFIX
        if not 0 < number < _NUMBERS:
            return None
        return f"+{number}*" if code & _PREFIX else f"+{number}"

    def _turned(self, blocks: NDArray[np.uint64], rounds: range) -> NDArray[np.uint64]:
        """Run all rounds of the network, in their order or backwards."""
        left, right = blocks >> _HALF, blocks & _LOW
        for number in rounds:
            left, right = right, left ^ self._mixed(right, number)
        return left << _HALF | right

    def _mixed(self, halves: NDArray[np.uint64], number: int) -> NDArray[np.uint64]:
        asked = np.zeros((len(halves), 2), "<u8")
        asked[:, 0], asked[:, 1] = halves, number
        encryptor = self._cipher.encryptor()
        told = encryptor.update(asked.tobytes()) + encryptor.finalize()
        return np.frombuffer(told, "<u8")[::2].astype(np.uint64) & _LOW
