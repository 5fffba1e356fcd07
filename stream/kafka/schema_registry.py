"""A client of a Confluent-compatible schema registry, and the wait for its schemas.

The client blocks; what it answered is kept for good.

An id names one schema for ever, so the answer is asked for once. An id that the registry does not
know is asked for again after `UNKNOWN_S`: somebody may restore a registry.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import urllib3

from stream.core.model.schemas import (
    RegisteredSchema,
    RegistryAnswer,
    RegistryDown,
    SchemaKey,
    SchemaUnknown,
)
from stream.kafka.batch import RawBatch
from stream.kafka.settings import SchemaRegistrySection
from stream.ops.clock import monotonic_s
from stream.ops.retry import Backoff

log = logging.getLogger(__name__)

ANSWER_BYTES_MAX: Final = 8 << 20
REFERENCES_MAX: Final = 100
"""Schemas that one schema may refer to, directly or not."""
UNKNOWN_S: Final = 60.0
ID_MAX: Final = 2**31 - 1
"""Of registries, whose ids are a signed int32. Four bytes of garbage may be more."""
UNKNOWN_MAX: Final = 100_000
"""Ids kept as unknown: a record may name any of four billion, and each of a batch another."""
_WAITS_S: Final = (0.5, 15.0)
"""The first and the longest wait for a registry that is away."""
_LOOK_S: Final = 0.05  # seconds between two looks whether the batch was taken from us
_JSON: Final = "application/vnd.schemaregistry.v1+json, application/json"


_ANSWERS: Final = {
    200: RegistryAnswer.FOUND,
    404: RegistryAnswer.UNKNOWN,
    401: RegistryAnswer.REFUSED,
    403: RegistryAnswer.REFUSED,
}


@lru_cache(maxsize=8)
def registry_of(section: SchemaRegistrySection, password: str) -> "SchemaRegistry":
    """Return the process' one client of a registry: its answers serve all topics."""
    return SchemaRegistry(section, password)


class SchemaRegistry:
    """The schemas of one registry. See `Schemas`. `observe` gets the outcome of each request."""

    def __init__(self, section: SchemaRegistrySection, password: str) -> None:
        self._url = section.url.rstrip("/")
        self._timeout_s = section.timeout_s
        self._headers = {"Accept": _JSON}
        if section.username:
            login = f"{section.username}:{password}"
            self._headers |= urllib3.make_headers(basic_auth=login)
        self._pool = _pool(section)
        self._known: dict[SchemaKey, RegisteredSchema] = {}
        self._unknown: dict[SchemaKey, tuple[float, str]] = {}
        self.observe: Callable[[RegistryAnswer], None] = lambda _: None

    def missing(self, keys: Iterable[SchemaKey], at_s: float) -> list[SchemaKey]:
        """Return those of `keys` that had not been asked for, or were asked for too long before."""
        return [
            key
            for key in dict.fromkeys(keys)
            if key not in self._known and self._unknown.get(key, (at_s,))[0] <= at_s
        ]

    def newest(self, subject: str) -> int:
        """Return the id of a subject's newest schema. Raises SchemaUnknown, RegistryDown."""
        answer = self._answer(f"/subjects/{quote(subject, safe='')}/versions/latest", subject)
        number = answer.get("id")
        if not isinstance(number, int):
            raise RegistryDown(f"{self._url} does not answer as a schema registry does")
        return number

    def schema(self, key: SchemaKey) -> RegisteredSchema:
        """Return the schema of an id or a GUID. Raises SchemaUnknown, RegistryDown."""
        if (known := self._known.get(key)) is not None:
            return known
        # Of any age: a batch's ids are asked for again before it is decoded, and not meanwhile.
        if (unknown := self._unknown.get(key)) is not None:
            raise SchemaUnknown(unknown[1])
        return self.ask(key)

    def ask(self, key: SchemaKey) -> RegisteredSchema:
        """Ask for a schema, also for one that was unknown. Raises SchemaUnknown, RegistryDown."""
        self._unknown.pop(key, None)  # the newest answer is the last to go
        try:
            found = self._whole(key)
        except SchemaUnknown as unknown:
            if len(self._unknown) >= UNKNOWN_MAX:
                del self._unknown[next(iter(self._unknown))]
            self._unknown[key] = (monotonic_s() + UNKNOWN_S, str(unknown))
            raise
        self._known[key] = found
        return found

    def _whole(self, key: SchemaKey) -> RegisteredSchema:
        # Redpanda's registry answers 400 to it, which is taken for an outage.
        if isinstance(key, int) and key > ID_MAX:
            raise SchemaUnknown(f"{key} is no id of a schema")
        path, what = f"/schemas/{'guids' if isinstance(key, str) else 'ids'}/{key}", f"schema {key}"
        answer = self._answer(path, what)
        kind = str(answer.get("schemaType") or "AVRO")
        references: dict[str, str] = {}
        if kind == "PROTOBUF":
            # Confluent's registry has it parsed already; Apicurio gives the text once more.
            answer = self._answer(f"{path}?format=serialized", what)
        self._refer(answer, kind, references, what)
        return RegisteredSchema(kind, _text(answer, what), tuple(references.items()))

    def _refer(
        self, answer: Mapping[str, Any], kind: str, found: dict[str, str], what: str
    ) -> None:
        """Add what a schema refers to, each after its own references."""
        for one in answer.get("references") or ():
            try:
                name, subject, version = str(one["name"]), str(one["subject"]), int(one["version"])
            except (KeyError, TypeError, ValueError) as error:
                raise SchemaUnknown(f"{what} has a reference that cannot be read") from error
            if name in found:
                continue
            if len(found) >= REFERENCES_MAX:
                raise SchemaUnknown(f"{what} refers to more than {REFERENCES_MAX} schemas")
            found[name] = ""  # a circle ends here
            path = f"/subjects/{quote(subject, safe='')}/versions/{version}"
            more = "?format=serialized" if kind == "PROTOBUF" else ""
            its = self._answer(path + more, f"{what}: {name}")
            self._refer(its, kind, found, what)
            del found[name]
            found[name] = _text(its, what)

    def _answer(self, path: str, what: str) -> Mapping[str, Any]:
        try:
            with self._pool.request(
                "GET",
                self._url + path,
                headers=self._headers,
                preload_content=False,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(total=self._timeout_s),
            ) as response:
                body = response.read(ANSWER_BYTES_MAX + 1)
                status = response.status
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self.observe(RegistryAnswer.UNREACHABLE)
            # Its text may hold the whole address.
            raise RegistryDown(f"{self._url} does not answer ({type(error).__name__})") from None
        told = _ANSWERS.get(status, RegistryAnswer.FAILED)
        if told is not RegistryAnswer.FOUND:
            self.observe(told)
        if status == 404:
            raise SchemaUnknown(f"the schema registry has no {what}")
        if status in {401, 403}:
            text = "look at [schema_registry] username and RINGFENCE_SCHEMA_REGISTRY_PASSWORD"
            raise RegistryDown(f"{self._url} answers {status}: {text}")
        if status != 200:
            raise RegistryDown(f"{self._url} answers {status} for {what}")
        if len(body) > ANSWER_BYTES_MAX:
            self.observe(RegistryAnswer.FAILED)
            raise SchemaUnknown(f"{what} has more than {ANSWER_BYTES_MAX >> 20} MB")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            self.observe(RegistryAnswer.FAILED)
            raise RegistryDown(f"{self._url} does not answer as a schema registry does")
        self.observe(RegistryAnswer.FOUND)
        return answer


def _text(answer: Mapping[str, Any], what: str) -> str:
    text = answer.get("schema")
    if not isinstance(text, str):
        raise SchemaUnknown(f"{what} has no text in the registry's answer")
    return text


def _pool(section: SchemaRegistrySection) -> urllib3.PoolManager:
    if not section.url.startswith("https:"):
        return urllib3.PoolManager(maxsize=2)
    context = ssl.create_default_context(cafile=section.ca_file or None)
    if section.cert_file:
        context.load_cert_chain(section.cert_file, section.key_file, password="")
    return urllib3.PoolManager(maxsize=2, ssl_context=context)


class SchemasAhead:
    """Fetches the schemas of a batch before it is decoded, however long the registry is away.

    `keys_in` gives the ids in a batch. `leaves`: the batch is not ours any more, or the process
    stops, so it is waited for no longer.
    """

    def __init__(
        self,
        registry: SchemaRegistry,
        keys_in: Callable[[RawBatch], Iterable[SchemaKey]],
        leaves: Callable[[RawBatch], bool],
    ) -> None:
        self._registry, self._keys_in, self._leaves = registry, keys_in, leaves
        self.down = ""

    async def before(self, raw: RawBatch) -> None:
        """Return once all schemas of the batch were asked for, or nobody waits for it any more."""
        keys, begun_s = self._keys_in(raw), monotonic_s()
        backoff = Backoff(*_WAITS_S)
        # As of the beginning: else ids expire while others are asked for, and this never ends.
        while wanted := self._registry.missing(keys, begun_s):
            if self._leaves(raw):
                return
            try:
                await asyncio.to_thread(self._fetch, raw, wanted)
            except RegistryDown as down:
                wait_s = backoff.next_s()
                self.down = str(down)
                log.warning("calls wait for a schema: %s: again in %.1f s", down, wait_s)
                if await self._left(raw, wait_s):
                    return
        if self.down:
            log.info("schema registry recovered")
            self.down = ""

    def _fetch(self, raw: RawBatch, keys: Iterable[SchemaKey]) -> None:
        for key in keys:
            if self._leaves(raw):
                return
            try:
                self._registry.ask(key)
            except SchemaUnknown:
                continue  # kept as unknown: the decoder rejects its records

    async def _left(self, raw: RawBatch, wait_s: float) -> bool:
        until_s = monotonic_s() + wait_s
        while monotonic_s() < until_s:
            if self._leaves(raw):
                return True
            await asyncio.sleep(_LOOK_S)
        return False
