"""A support bundle: its pieces, each with the reason for it, and its file.

Every piece is bounded: `PIECE_BYTES_MAX`, of logs and audit the end.
"""

import asyncio
import io
import os
import shutil
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream import __version__
from stream.config.feed_files import feed_tables
from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.core.model.moments import rfc3339
from stream.doctor.run_checks import examine
from stream.doctor.scrub import Scrubber, environment, secrets_of
from stream.insight.explain.deliveries import sink_groups
from stream.kafka.clients import group_positions, listens
from stream.lists.store.list_store import ListStore
from stream.ops.monitor.collect import Monitor
from stream.ops.schema.toml import flat

PIECE_BYTES_MAX = 4 * 1024 * 1024
"""Of one file: a day of a busy engine's log. What is older is left out."""
LOG_LINES_MAX, AUDIT_ENTRIES_MAX, MANIFESTS_MAX = 5000, 500, 500
"""Enough for a person to read; 64 lists have 128 manifests."""
ASK_S_MAX = 15.0
"""For Kafka and journald each: a bundle is made when something is broken."""
_AT_ONCE = 256 * 1024
"""Bytes of one read of the journal."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One file of the bundle, before it is scrubbed. `runs`: digits in it may be numbers."""

    name: str
    why: str
    text: str
    runs: bool = True


async def pieces(
    settings: Settings, environ: Mapping[str, str], logs: Sequence[Path]
) -> AsyncIterator[Piece]:
    """Yield every piece, one after the other, so that only one is in memory."""
    why = "what is in force; secrets only as set or not"
    yield _json("configuration.json", why, settings.redacted())
    yield _json("environment.json", "which variables of ours are set", environment(environ))
    yield _json("versions.json", "what runs, and every package with its version", _versions())
    lines = await examine(settings)
    yield _json("doctor.json", "what ringfence doctor finds, and how to fix it", lines)
    seen = await Monitor(settings.watched()).look_twice(1.0)
    yield _json("figures.json", "rates, latency, lag, lists and who is away, over a second", seen)
    async for piece in _metrics(settings):
        yield piece
    async for piece in _list_store(settings):
        yield piece
    for piece in await asyncio.to_thread(_manifests, Path(settings.lists.state_dir)):
        yield piece
    why = "topics' ends, and how far each of our groups has read"
    yield _json("kafka.json", why, await _kafka(settings))
    why = "what our units logged at last, numbers masked"
    yield Piece("logs/journal.txt", why, await _journal())
    for path in logs:
        yield Piece(f"logs/{path.name}", "a log file that was named, its end", _tail(path))


def known_secrets(settings: Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return every secret that this deployment knows of, in each form; see `Scrubber`."""
    feeds = feed_tables(Path(settings.feeds.dir)) or {}
    tables: list[Mapping[str, Any]] = [settings.redacted(), *feeds.values()]
    named = {one for table in tables for key, one in flat(table) if key[-1].endswith("_env")}
    folders = [Path(settings.exchange.circles_dir), Path(settings.exchange.keys_dir)]
    hooks = [one.url for one in settings.sinks.webhooks.endpoints.values()]
    return secrets_of(environ, folders, named, hooks)


def _manifests(folder: Path) -> list[Piece]:
    why = "a snapshot that this machine enforces"
    return [
        Piece(f"state/{'-'.join(path.relative_to(folder).parts)}", why, _tail(path), runs=False)
        for path in sorted(folder.glob("lists/*/*/*/manifest.json"))[:MANIFESTS_MAX]
    ]


def _json(name: str, why: str, value: Any) -> Piece:
    text = msgspec.json.format(msgspec.json.encode(value)).decode()
    return Piece(name, why, text, runs=False)


def _versions() -> dict[str, Any]:
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    return {"ringfence": __version__, "packages": dict(sorted(packages.items()))}


async def _metrics(settings: Settings) -> AsyncIterator[Piece]:
    """Yield each process' `/metrics`, as Prometheus would have it."""
    limit = aiohttp.ClientTimeout(total=5.0)
    async with aiohttp.ClientSession(timeout=limit) as session:
        for place in settings.watched():
            name = f"metrics/{place.name.replace(' ', '-').replace(':', '-')}.prom"
            try:
                async with session.get(f"{place.url}/metrics", allow_redirects=False) as answer:
                    # One read gives only the bytes that have come by now.
                    body = bytearray()
                    async for part in answer.content.iter_any():
                        body += part
                        if len(body) >= PIECE_BYTES_MAX:
                            break
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                text = f"# {place.url} does not answer: {type(error).__name__}\n"
            else:
                text = body.decode(errors="replace")
            yield Piece(name, f"all that {place.name} counts", text, runs=False)


async def _list_store(settings: Settings) -> AsyncIterator[Piece]:
    """Lists' heads, and the end of the audit."""
    try:
        async with await ListStore.connect(settings.list_store()) as list_store:
            heads = await list_store.heads()
            yield _json("lists.json", "every list as the list store has it", heads)
            entries = []
            async for entry in list_store.past.audit():
                entries.append(
                    f"{rfc3339(entry.at_s)} {entry.actor}: {entry.op} {entry.list_name} "
                    f"{entry.generation} {entry.detail} {entry.reason}\n"
                )
                if len(entries) == AUDIT_ENTRIES_MAX:
                    break
            text = "".join(entries)
            yield Piece("audit.txt", "who changed what at last, newest first, masked", text)
    except Fault as fault:
        yield Piece("lists.json", "every list as the list store has it", f'"{fault}"')


async def _kafka(settings: Settings) -> dict[str, Any]:
    try:
        kafka = settings.kafka_client()
    except Fault as fault:  # a certificate of no use
        return {"why": str(fault)}
    if not await listens(kafka):
        return {"why": f"Kafka at {settings.kafka.bootstrap_servers} does not answer"}
    wanted = settings.calls
    names = [*wanted.topics, wanted.decisions_topic, wanted.rejected_topic]
    names += settings.sinks.webhooks.topics()
    groups = [wanted.group_id, *sink_groups(settings).values()]
    consumer = AIOKafkaConsumer(**kafka.options(), group_id=None)
    admin = AIOKafkaAdminClient(**kafka.options())
    try:
        async with asyncio.timeout(ASK_S_MAX):
            await consumer.start()
            await admin.start()
            places = [
                TopicPartition(topic["topic"], one["partition"])
                for topic in await admin.describe_topics()
                if topic["topic"] in names
                for one in topic["partitions"]
            ]
            ends = await consumer.end_offsets(places)
            begins = await consumer.beginning_offsets(places)
            held = {group: await group_positions(admin, group) for group in groups}
    except (KafkaError, TimeoutError) as error:
        return {"why": repr(error)}
    finally:
        await consumer.stop()
        await admin.close()
    return {
        "topics": {
            f"{place.topic}/{place.partition}": {"begin": begins[place], "end": end}
            for place, end in ends.items()
        },
        "groups": {
            group: {
                f"{place.topic}/{place.partition}": {
                    "read": at,
                    "lag": max(0, ends[place] - at) if place in ends else None,
                }
                for place, at in positions.items()
            }
            for group, positions in held.items()
        },
    }


async def _journal() -> str:
    """Return the end of what our units wrote to journald."""
    program = shutil.which("journalctl")
    if program is None:
        return "there is no journalctl here: name log files by --log\n"
    words = ["--no-pager", "-o", "short-iso", "-n", str(LOG_LINES_MAX), "-u", "ringfence*"]
    process = await asyncio.create_subprocess_exec(
        program,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None, "it was asked for"
    end, cut = bytearray(), False
    try:
        async with asyncio.timeout(ASK_S_MAX):
            while part := await process.stdout.read(_AT_ONCE):
                end += part
                if len(end) > PIECE_BYTES_MAX:
                    del end[:-PIECE_BYTES_MAX]
                    cut = True
    except TimeoutError:
        end += b"journalctl took too long\n"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    if cut:  # half of a secret would not be found
        del end[: end.find(b"\n") + 1]
    return end.decode(errors="replace")


def _tail(path: Path) -> str:
    """Return the end of a file; whole lines."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - PIECE_BYTES_MAX))
            lines = file.read().splitlines()[1 if size > PIECE_BYTES_MAX else 0 :]
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}\n"
    kept = islice(lines, max(0, len(lines) - LOG_LINES_MAX), None)
    return b"\n".join(kept).decode(errors="replace") + "\n"


BUNDLE_BYTES_MAX = 100 * 1024 * 1024
"""Of all pieces together, before they are compressed; later ones are left out, and named."""
_FOLDER = "ringfence-support"


async def write(
    path: Path, pieces: AsyncIterator[Piece], scrubber: Scrubber, now_s: int
) -> list[dict[str, object]]:
    """Write the bundle; its manifest: name, bytes and why of each piece. Raises OSError.

    The file is new, and only its owner can read it.
    """
    manifest: list[dict[str, object]] = []
    left = BUNDLE_BYTES_MAX
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as bundle:
        async for piece in pieces:
            data = scrubber.text(piece.text[:PIECE_BYTES_MAX], runs=piece.runs).encode()
            name = scrubber.text(piece.name, runs=False)  # a log may be named after a number
            said: dict[str, object] = {"name": name, "bytes": len(data), "why": piece.why}
            if len(data) > left:
                manifest.append(said | {"left_out": "the bundle is as large as it may be"})
                continue
            left -= len(data)
            _add(bundle, name, data, now_s)
            manifest.append(said)
        _add(bundle, "MANIFEST.json", msgspec.json.format(msgspec.json.encode(manifest)), now_s)
    return manifest


def _add(bundle: tarfile.TarFile, name: str, data: bytes, now_s: int) -> None:
    entry = tarfile.TarInfo(f"{_FOLDER}/{name}")
    entry.size, entry.mtime, entry.mode = len(data), now_s, 0o600
    bundle.addfile(entry, io.BytesIO(data))
