"""The list store's Lua: each script is one atomic change, written to all its places or to none.

A change gets the list's next generation and joins its chain. The chain is the SHA-1 of the chain
before and of generation, op and payload on separate lines. By it a follower notices a missing or
altered step (`store_codec.chain_after`). The streams are cut to about their limits.

Each audit entry is numbered and carries the hash of the one before. Its own hash covers both that
and all its fields (`audit_entries.hash_of`). `rf:audit:head` holds the last number, hash, id.

A script is a file in `lua/`, which begins with its KEYS, its ARGV and its answer. An answer begins
with a status: 1 done, 0 nothing to do, or one of the negative ones below.
"""

from pathlib import Path

from stream import __version__

UNKNOWN = -1
"""No such list."""
MOVED = -2
"""The base, generation or change is not the expected one any more."""

_FOLDER = Path(__file__).with_name("lua")


def _lua(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text("utf-8")


# The version goes into each step: see lua/step.lua.
STEP = f"local ringfence = '{__version__}'\n{_lua('step')}"
"""Functions that begin the scripts that write; `ASKED` is one for those that read."""
ASKED = _lua("asked")
_WHOLE_KEY = _lua("whole_key")

HEADS = ASKED + _lua("heads")
STATE = ASKED + _lua("state")
ALLOW_STATE = ASKED + _lua("allow_state")
READ_TRIALS = ASKED + _lua("read_trials")

CREATE = STEP + _lua("create")
DELETE = STEP + _lua("delete")
CHANGE = STEP + _lua("change")
SCOPE = STEP + _lua("scope")
RESERVE = STEP + _lua("reserve")
PUBLISH = STEP + _lua("publish")
DISCARD = STEP + _lua("discard")
RETAIN = STEP + _lua("retain")
SWEEP = _lua("sweep")
ARCHIVE = _lua("archive")
ALLOW = STEP + _lua("allow")
ALLOW_PASS = STEP + _lua("allow_pass")
TURN = STEP + _lua("turn")
FEED = STEP + _lua("feed")
NOTE = STEP + _lua("note")

READ_KEYS = _WHOLE_KEY + _lua("read_keys")
CUT = _WHOLE_KEY + _lua("cut")
COPY_LIST = _lua("copy_list")
SWAP = _lua("swap")
