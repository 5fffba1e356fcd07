"""Signed metadata against any bytes: refused with a reason, or exactly what the owner signed.

    python -m tests.fuzz.tuf_metadata --kind owner --seconds 600 --seed 1

`stranger`: a web server changes files of a repository, and what comes of it is the signed content
or a refusal. `owner`: somebody with the owner's keys signs metadata with odd fields, names, lengths
and delegations; a partner reads all of it, or refuses it. A partner begins with nothing each time,
or with the state of the right version. No name leads out of its folder.
"""

import atexit
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from tuf.api.metadata import Metadata
from tuf.api.serialization import DeserializationError, SerializationError

from stream.core.model.errors import ExchangeFault, FeedDown
from tests.fuzz.harness import fuzz
from tests.fuzz.json_records import changed
from tests.support.repositories import Country

KINDS: Final = ("stranger", "owner")
ROUND: Final = 25
TARGETS: Final = {"latest.json": b'{"generation":1}', "1/filter.bloom": b"bits" * 100}
TOKENS: Final = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"-1", b"1e999", b"9" * 400),
    *(b"\0", b"\xff", b"\\ud800", b"[" * 3_000, b'{"a":' * 3_000, b'"_type":"root"', b'"version":'),
    *(b'"version":0', b'"version":99', b'"expires":"2000-01-01T00:00:00Z"', b'"threshold":0'),
    *(b'"keyids":[]', b'"signatures":[]', b'"sig":""', b'"sig":"00"', b'"spec_version":"9.9.9"'),
)
ODD: Final[tuple[Any, ...]] = (
    *(None, True, 0, 1, -1, 2**63, 1.5, "", "x", "..", "../../x", "KH/../x", "/etc/passwd", "KH"),
    *("KH/scam/\x00", "KH/scam/" + "y" * 5_000, "VN/scam/latest.json", "ที่", [], {}, [[]], ["*"]),
    *({"a": {}}, ["KH/scam/*"] * 50, "2000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "sha256"),
)


@cache
def country() -> Country:
    """A repository with two versions, so that older metadata is there as well."""
    home = Path(tempfile.mkdtemp(prefix="fuzz-tuf-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    made = Country(home)
    made.publish(TARGETS)
    made.publish(TARGETS)
    return made


@contextmanager
def copied() -> Any:
    """The country with a repository of its own, by the same keys."""
    base = country()
    with tempfile.TemporaryDirectory(prefix="fuzz-tuf-") as name:
        shutil.copytree(base.folder, Path(name) / "repository")
        mine = object.__new__(Country)
        mine.__dict__.update(base.__dict__)
        mine.home, mine.folder = Path(name), Path(name) / "repository"
        yield mine


def by_a_stranger(here: Country, rng: random.Random) -> None:
    """Change one to three files: bytes, or another file's content, or none."""
    files = sorted(path for path in here.folder.rglob("*") if path.is_file())
    contents = [path.read_bytes() for path in files]
    for path in rng.sample(files, rng.choice((1, 1, 2, 3))):
        match rng.randrange(6):
            case 0:
                path.unlink()
            case 1:
                path.write_bytes(rng.choice(contents))
            case _:
                path.write_bytes(changed(path.read_bytes(), contents, rng, TOKENS))


def odd(value: Any, rng: random.Random) -> Any:
    """`value` with something odd at one place."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {**value, str(rng.choice(ODD)): value[key]}
        if rng.random() < 0.1:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: odd(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], odd(value[at], rng), *value[at + 1 :]]
    return rng.choice(ODD)


def by_the_owner(here: Country, rng: random.Random) -> None:
    """Sign a role, the targets, or what leads to them, with something odd inside."""
    published = here.read()
    roles = {**published.roles, "targets": published.targets}
    name = rng.choice(sorted(roles))
    signed = json.loads(roles[name])
    for _ in range(rng.choice((1, 1, 2))):
        signed["signed"] = odd(signed["signed"], rng)
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(json.dumps(signed).encode())
        metadata.signed.version += rng.choice((0, 1, 1, 1))
        metadata.signatures.clear()
        keys = here.ring.signers(key.keyid for key in here.ring.held())
        for signer in keys:
            metadata.sign(signer, append=True)
        data = metadata.to_bytes()
    except (
        *(DeserializationError, SerializationError),
        *(ValueError, TypeError, KeyError, AttributeError),
    ):
        return  # python-tuf makes no such file, so there is nothing to sign
    changed_one = (
        replace(published, targets=data)
        if name == "targets"
        else replace(published, roles={**published.roles, name: data})
    )
    try:
        here.stamp(changed_one)
    except (ExchangeFault, OSError, ValueError, TypeError):
        return


WAYS: Final[dict[str, Callable[[Country, random.Random], None]]] = {
    "stranger": by_a_stranger,
    "owner": by_the_owner,
}


def check(kind: str, rng: random.Random) -> int:
    """Let a partner read a repository; 1 if it took one, 0 if it refused."""
    with copied() as here:
        state = here.home / "state"
        if rng.random() < 0.3:
            here.client(state).refresh()
        WAYS[kind](here, rng)
        before = {path for path in here.home.rglob("*") if state not in path.parents}
        client = here.client(state)
        try:
            seen = client.refresh()
            seen.only_of("KH")
            seen.owned(here.list)
            for name, content in TARGETS.items():
                read = seen.read(f"{here.list}/{name}", 10_000)
                assert read == content, f"{name} has other bytes"
            taken = 1
        except FeedDown as refusal:
            if not refusal.detail:
                raise AssertionError("a refusal says why") from refusal
            taken = 0
        finally:
            client.close()
        after = {path for path in here.home.rglob("*") if state not in path.parents}
        assert after <= before | {state}, f"files outside of the state: {after - before}"
        return taken


def run(kind: str, seed: int, count: int) -> int:
    """Check `count` repositories; how many were taken."""
    taken = 0
    for number in range(count):
        name = f"{kind} {seed} {number}"
        try:
            taken += check(kind, random.Random(name))
        except BaseException as error:
            error.add_note(name)
            raise
    return taken


def main() -> None:
    """Check until the time is over."""
    fuzz("taken", KINDS, lambda kind, seed: run(kind, seed, ROUND), "--kind", ROUND)


if __name__ == "__main__":
    main()
