"""Lua scripts as Redis runs them: Lua 5.1 itself, with `redis.call` on the model's keys.

The product's own scripts run here, unchanged. Values pass as Redis' documentation has it: nil is
false, a status is a table with `ok`, an error a table with `err`; a number is cut to an integer on
its way out, and an array ends at its first nil.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from lupa.lua51 import LuaRuntime, lua_type

from tests.simulation.store.database import Refused, Reply, Status

Call = Callable[[Sequence[bytes]], Reply]
_SEALED = ("os", "io", "package", "require", "dofile", "loadfile", "python", "debug")
"""Names that Redis does not have either: a script sees no clock and no file but by `redis`."""
_PRELUDE = b"""
local raw_call, raw_pcall, sha1hex, unpacked = ...
local function answered(answer)
  if type(answer) == 'table' and answer.err then error(answer, 0) end
  return answer
end
redis = {
  call = function(...) return answered(raw_call(...)) end,
  pcall = function(...) return raw_call(...) end,
  sha1hex = function(text) return sha1hex(tostring(text)) end,
  error_reply = function(text) return {err = text} end,
  status_reply = function(text) return {ok = text} end,
}
cmsgpack = {unpack = function(text) return unpacked(text) end}
return function(text, keys, argv)
  KEYS, ARGV = keys, argv
  local ran, answer = pcall(text)
  KEYS, ARGV = nil, nil
  if not ran and type(answer) ~= 'table' then return {err = 'ERR ' .. tostring(answer)} end
  return answer
end
"""


class Scripts:
    """The scripts that one server knows, by their hash. All servers of a process share one Lua."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def __contains__(self, digest: object) -> bool:
        return digest in self._known

    def load(self, text: bytes) -> bytes:
        """Know a script from now on; return its hash."""
        digest = hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
        _compiled(digest, text)
        self._known.add(digest)
        return digest

    def run(self, digest: bytes, args: Sequence[bytes], call: Call) -> Reply:
        """Run the script with that hash on `args`: how many keys, the keys, the others."""
        if digest.lower() not in self._known:
            raise Refused("NOSCRIPT No matching script. Please use EVAL.")
        count = int(args[0])
        return _LUA.run(digest.lower(), args[1 : 1 + count], args[1 + count :], call)


class _Lua:
    """One Lua for all scripts: they leave nothing behind in it."""

    def __init__(self) -> None:
        self._lua = LuaRuntime(encoding=None, unpack_returned_tuples=False)
        self._call: Call | None = None
        prelude = self._lua.eval(b"function(...) return loadstring(...) end")(_PRELUDE)
        self._run = prelude(self._called, None, self._sha1hex, self._unpacked)
        for name in _SEALED:
            self._lua.globals()[name.encode()] = None
        self.functions: dict[bytes, Any] = {}

    def compiled(self, text: bytes) -> Any:
        made = self._lua.eval(b"function(text) return loadstring(text) end")(text)
        if made is None:
            raise Refused("ERR Error compiling script")
        return made

    def run(self, digest: bytes, keys: Sequence[bytes], args: Sequence[bytes], call: Call) -> Reply:
        self._call = call
        answer = self._run(self.functions[digest], self._table(keys), self._table(args))
        return self._out(answer)

    def _table(self, items: Sequence[Any]) -> Any:
        return self._lua.table_from(items)

    def _called(self, *args: Any) -> Any:
        assert self._call is not None
        try:
            return self._in(self._call([_text(one) for one in args]))
        except Refused as refused:
            return self._lua.table_from({b"err": str(refused).encode()})

    def _sha1hex(self, text: bytes) -> bytes:
        return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()

    def _unpacked(self, text: bytes) -> Any:
        return self._in(_bytes_in(msgspec.msgpack.decode(text)))

    def _in(self, reply: Reply) -> Any:
        """Return a reply as a script sees it."""
        if reply is None:
            return False
        if isinstance(reply, Status):
            return self._lua.table_from({b"ok": bytes(reply)})
        if isinstance(reply, dict):
            reply = [part for pair in reply.items() for part in pair]
        if isinstance(reply, list):
            return self._table([self._in(one) for one in reply])
        return reply

    def _out(self, value: Any) -> Reply:
        """Return what a script returned as a reply. Raises Refused."""
        if value is None or value is False:
            return None
        if value is True:
            return 1
        if lua_type(value) == "table":
            if value[b"err"] is not None:
                raise Refused(value[b"err"].decode())
            if value[b"ok"] is not None:
                return Status(value[b"ok"])
            items, place = [], 1
            while (item := value[place]) is not None:
                items.append(self._out(item))
                place += 1
            return items
        return value if isinstance(value, bytes) else int(value)


def _bytes_in(value: Any) -> Any:
    """Return a value of MessagePack with its texts as bytes: Lua knows no other."""
    if isinstance(value, list):
        return [_bytes_in(one) for one in value]
    return value.encode() if isinstance(value, str) else value


def _text(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("ERR Lua redis lib command arguments must be strings or integers")
    return b"%d" % value if float(value).is_integer() else f"{value:.17g}".encode()


_LUA = _Lua()


def _compiled(digest: bytes, text: bytes) -> None:
    if digest not in _LUA.functions:
        _LUA.functions[digest] = _LUA.compiled(text)
