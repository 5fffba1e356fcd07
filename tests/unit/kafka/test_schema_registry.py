"""The client of a schema registry: asked once, named faults, no login in any of them."""

import asyncio
import base64
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any, get_type_hints

import pytest

from stream.calls.encodings.schema_ids import schema_keys
from stream.config.sections import CallsSection
from stream.core.model.schemas import RegistryDown, SchemaUnknown
from stream.kafka import schema_registry as module
from stream.kafka.batch import RawBatch
from stream.kafka.schema_registry import SchemaRegistry, SchemasAhead
from stream.kafka.settings import SchemaRegistrySection
from stream.ops.schema.toml import Problems
from tests.support.builders import raw_of
from tests.support.schema_registry import AVRO, DESCRIPTOR, ScriptedRegistry, scripted_registry
from tests.support.waiting import HANGS_S, until

NO_TLS = {"ca_file": "", "cert_file": "", "key_file": ""}
LEAST: dict[str, Any] = {"username": "", **NO_TLS, "timeout_s": 5.0}


@pytest.fixture
def server() -> Iterator[ScriptedRegistry]:
    with scripted_registry() as registry:
        yield registry


def client(url: str, password: str = "", **fields) -> SchemaRegistry:
    return SchemaRegistry(SchemaRegistrySection(url=url, **{**LEAST, **fields}), password)


def test_each_schema_is_asked_for_once(server: ScriptedRegistry) -> None:
    """With the login; of Protobuf the parsed form; unknown ids are not asked for again at once."""
    registry = client(f"{server.url}/", "word", username="me")
    for _ in range(2):
        assert registry.schema(1).kind == "AVRO"
        assert registry.schema(2) == ("PROTOBUF", DESCRIPTOR, ())
        with pytest.raises(SchemaUnknown, match="no schema 9"):
            registry.schema(9)
    paths = ["/schemas/ids/1", "/schemas/ids/2", "/schemas/ids/2?format=serialized"]
    assert server.asked == [*paths, "/schemas/ids/9"]
    assert set(server.logins) == {"Basic " + base64.b64encode(b"me:word").decode()}
    assert registry.missing([1, 2, 9, 7, 7], 0.0) == [7]


def test_each_request_is_observed_by_its_outcome(server: ScriptedRegistry) -> None:
    """An operator sees how often it was asked, and what came of it."""
    registry, seen = client(server.url), list[str]()
    registry.observe = seen.append
    registry.schema(1)
    with pytest.raises(SchemaUnknown):
        registry.schema(9)
    for server.status in (403, 500):
        with pytest.raises(RegistryDown):
            registry.schema(3)
    away = client("http://127.0.0.1:9")
    away.observe = seen.append
    with pytest.raises(RegistryDown):
        away.schema(1)
    assert seen == ["found", "unknown", "refused", "failed", "unreachable"]


def test_a_guid_names_a_schema_as_an_id_does(server: ScriptedRegistry) -> None:
    """Newer clients write it; a subject's newest schema is asked for by the doctor."""
    guid = "4bb5ed0a-2e3b-4c1f-9d9c-3b3a4dfd1d1e"
    server.guids[guid] = 2
    assert client(server.url).schema(guid) == ("PROTOBUF", DESCRIPTOR, ())
    server.subjects["calls-value", "latest"] = {"id": 1, **server.schemas[1]}
    assert client(server.url).newest("calls-value") == 1
    server.subjects["other-value", "latest"] = {"id": "?"}
    with pytest.raises(RegistryDown, match="as a schema registry does"):
        client(server.url).newest("other-value")


def test_references_come_before_what_needs_them(server: ScriptedRegistry) -> None:
    """Also those of references; a circle ends."""
    one = {"name": "one", "subject": "a/b", "version": 1}
    two = {"name": "two", "subject": "two", "version": 3}
    server.schemas[7] = {"schema": "whole", "references": [one]}
    server.subjects["a%2Fb", "1"] = {"schema": "first", "references": [two]}
    server.subjects["two", "3"] = {"schema": "second", "references": [one]}
    assert client(server.url).schema(7).references == (("two", "second"), ("one", "first"))
    server.schemas[8] = {"schema": "whole", "references": [{"name": "x"}]}
    with pytest.raises(SchemaUnknown, match="reference"):
        client(server.url).schema(8)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "RINGFENCE_SCHEMA_REGISTRY_PASSWORD"), (500, "answers 500")]
)
def test_outages_say_what_to_look_at(server: ScriptedRegistry, status: int, words: str) -> None:
    """And nothing is taken for unknown meanwhile."""
    registry = client(server.url, "secret words", username="me")
    server.status = status
    with pytest.raises(RegistryDown, match=words) as caught:
        registry.schema(1)
    assert "secret words" not in str(caught.value)
    server.status = 200
    assert registry.schema(1).kind == "AVRO"


def test_a_server_that_is_away_or_no_registry_is_an_outage(
    server: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens, or another service does; an answer without end is none."""
    with pytest.raises(RegistryDown, match="does not answer"):
        client("http://127.0.0.1:9").schema(1)
    monkeypatch.setattr(server, "answer", lambda _: (200, ["no registry"]))
    with pytest.raises(RegistryDown, match="as a schema registry does"):
        client(server.url).schema(1)
    monkeypatch.setattr(module, "ANSWER_BYTES_MAX", 5)
    with pytest.raises(SchemaUnknown, match="MB"):
        client(server.url).schema(1)


def test_a_login_in_the_address_is_refused() -> None:
    """It would stand in logs and in `config show`."""
    with pytest.raises(Problems):
        SchemaRegistrySection(url="https://me:word@registry.example", **LEAST)


async def test_a_batch_waits_for_its_schemas(
    server: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through an outage, and no longer than the batch is ours; other topics wait for nothing."""
    monkeypatch.setattr(module, "_WAITS_S", (0.01, 0.01))
    registry, leaves = client(server.url), False
    keys_in = partial(schema_keys, topics={"calls"})
    ahead = SchemasAhead(registry, keys_in, lambda _: leaves)
    await ahead.before(raw_of(AVRO, topics=("others",)))
    assert server.asked == []
    server.status = 503
    waiting = asyncio.create_task(ahead.before(raw_of(AVRO, b"plain", None)))
    await until(lambda: ahead.down, "the outage is told")
    assert "answers 503" in ahead.down
    server.status = 200
    await waiting
    assert (ahead.down, registry.missing([1], 0.0)) == ("", [])
    server.status, leaves = 503, True
    await ahead.before(raw_of(b"\0\0\0\0\x07data"))
    assert registry.missing([7], 0.0) == [7]


def named(*ids: int) -> RawBatch:
    return raw_of(*(b"\0" + one.to_bytes(4, "big") + b"data" for one in ids))


async def test_unknown_schemas_are_asked_for_once_a_batch(
    server: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where answers expire before the last id was asked for, or the batch is decoded."""
    clock = count(0, 100)
    monkeypatch.setattr(module, "monotonic_s", lambda: next(clock))
    monkeypatch.setattr(module, "UNKNOWN_MAX", 3)
    registry = client(server.url)
    ahead = SchemasAhead(registry, partial(schema_keys, topics={"calls"}), lambda _: False)
    for ids in ((7, 8, 9), (7, 8, 6)):
        server.asked.clear()
        async with asyncio.timeout(5):
            await ahead.before(named(*ids))
        for one in ids:
            with pytest.raises(SchemaUnknown):
                registry.schema(one)
        assert sorted(server.asked) == sorted(f"/schemas/ids/{one}" for one in ids)


async def test_a_number_that_is_no_id_is_unknown_without_a_question(
    server: ScriptedRegistry,
) -> None:
    """Redpanda's registry answers 400 to it: a record of garbage held all calls up for ever."""
    registry = client(server.url)
    server.status = 400
    ahead = SchemasAhead(registry, partial(schema_keys, topics={"calls"}), lambda _: False)
    async with asyncio.timeout(HANGS_S):
        await ahead.before(named(2**31, 2**32 - 1))
    with pytest.raises(SchemaUnknown, match="4294967295 is no id"):
        registry.schema(2**32 - 1)
    assert not server.asked


async def test_no_more_schemas_are_asked_for_once_the_batch_is_left(
    server: ScriptedRegistry,
) -> None:
    """A thousand unknown ids do not hold a worker that ends, or gives its partitions away."""
    keys_in = partial(schema_keys, topics={"calls"})
    ahead = SchemasAhead(client(server.url), keys_in, lambda _: bool(server.asked))
    await ahead.before(named(7, 8, 9))
    assert len(server.asked) == 1


def test_a_batch_has_no_more_ids_than_are_kept_as_unknown() -> None:
    """Else the last would put out the first, and decoding would ask for those again."""
    hints = get_type_hints(CallsSection, include_extras=True)
    (limits,) = hints["batch_records_max"].__metadata__
    assert limits.most <= module.UNKNOWN_MAX
