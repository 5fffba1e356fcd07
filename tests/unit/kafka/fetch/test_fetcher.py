"""The fetcher against brokers that behave: everything comes, once, in order, from any leader."""

import asyncio
import ssl
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from stream.core.model.errors import SourceDown
from stream.kafka.batch import Partition
from stream.kafka.call_events import CallEvent
from stream.kafka.fetch import fetched_batches, fetcher
from stream.kafka.fetch.broker import Broker
from stream.kafka.fetch.partition_state import MEANINGS
from tests.support.record_batches import Row, batch, marker
from tests.support.scripted_broker import P0, P1, P2, Cluster, fetching
from tests.support.waiting import until


def numbered(count: int, start: int = 0) -> list[tuple[int, bytes]]:
    return [(offset, b"call %d" % offset) for offset in range(start, start + count)]


def filled(
    cluster: Cluster, partition: Partition, batches: int, each: int, leader: int = 0
) -> None:
    for _ in range(batches):
        end = cluster.end(partition)
        cluster.records(partition, [value for _, value in numbered(each, end)], leader)


async def test_everything_comes_once_in_order() -> None:
    """Many batches in many answers, taken in numbers that fit no batch."""
    async with Cluster() as cluster:
        filled(cluster, P0, 60, 7)
        filled(cluster, P1, 3, 50)
        async with fetching(cluster) as lab:
            await lab.until(570, records_max=11)
            await lab.quiet()
            assert lab.found == {P0: numbered(420), P1: numbered(150)}
            assert max(lab.batches) == 11
            assert lab.reader.high_water(P0) == 420


async def test_reading_begins_in_the_middle_of_a_batch() -> None:
    """The broker gives the whole batch; what lies before the position is not given again."""
    async with Cluster() as cluster:
        filled(cluster, P0, 2, 10)
        async with fetching(cluster, {P0: 13}) as lab:
            await lab.until(7)
            assert lab.found == {P0: numbered(7, 13)}


async def test_what_is_written_later_comes_as_well() -> None:
    """An answer of nothing is asked again."""
    async with Cluster() as cluster:
        filled(cluster, P0, 1, 5)
        async with fetching(cluster) as lab:
            await lab.until(5)
            filled(cluster, P0, 1, 5)
            await lab.until(10)
            assert lab.found == {P0: numbered(10)}


async def test_the_next_answer_is_asked_for_before_the_last_is_worked_on() -> None:
    """Two answers at most are in memory, and the second is fetched while the first is worked on."""
    async with Cluster() as cluster:
        filled(cluster, P0, 200, 20)
        async with fetching(cluster) as lab:
            await lab.until(1, records_max=1)
            await asyncio.sleep(0.1)
            assert len(cluster.asked) == 2
            assert cluster.asked[1][1][0][1] > cluster.asked[0][1][0][1]
            await lab.until(4000)
            assert lab.found == {P0: numbered(4000)}


async def test_a_full_partition_starves_no_other() -> None:
    """A broker fills its answer in the order asked for: whose turn was comes last next time."""
    async with Cluster() as cluster:
        filled(cluster, P0, 300, 20)
        filled(cluster, P1, 300, 20)
        filled(cluster, P2, 1, 5)
        async with fetching(cluster, answer_bytes=4096) as lab:
            await lab.until(holds=lambda: len(lab.found[P2]) == 5)
            assert sum(map(len, lab.found.values())) < 2000


async def test_a_batch_larger_than_a_fetch_comes_alone() -> None:
    """It is cut short behind others' records, and whole when its turn is first."""
    async with Cluster() as cluster:
        filled(cluster, P0, 40, 20)
        cluster.records(P1, [b"x" * 20_000, b"y"])
        async with fetching(cluster) as lab:
            await lab.until(802)
            assert lab.found[P1] == [(0, b"x" * 20_000), (1, b"y")]
            assert lab.found[P0] == numbered(800)


async def test_aborted_transactions_are_not_read() -> None:
    """The positions go on behind them and behind the markers, and the lag is known."""
    async with Cluster() as cluster:
        cluster.add(P0, batch(0, [Row(0, b"no"), Row(1, b"no")], 0x10, 7), marker(2, 7, 0))
        cluster.add(P0, batch(3, [Row(0, b"yes")], 0x10, 7), marker(4, 7, 1))
        cluster.aborted[P0] = [(7, 0)]
        async with fetching(cluster) as lab:
            await lab.until(1)
            await lab.quiet()
            assert lab.found == {P0: [(3, b"yes")]}
            assert cluster.asked[-1][1] == [(P0, 5)]


async def test_a_seek_repeats_from_there_on() -> None:
    """Records fetched from elsewhere are dropped, whether they wait or were given out in part."""
    async with Cluster() as cluster:
        filled(cluster, P0, 50, 10)
        filled(cluster, P1, 50, 10)
        async with fetching(cluster) as lab:
            await lab.until(25, records_max=5)
            lab.reader.seek({P0: 3})
            before = dict(lab.found)
            lab.found.clear()
            await lab.until(1000 - 3 - len(before.get(P1, [])))
            await lab.quiet()
            assert lab.found[P0] == numbered(497, 3)
            assert before.get(P1, []) + lab.found[P1] == numbered(500)


async def test_an_error_about_what_was_handed_out_meanwhile_counts_no_more() -> None:
    """An answer waits, its beginning is sought and asked for again, and retention deletes it.

    Else records that were handed out, and decided in a transaction, came a second time.
    """
    ready = asyncio.Event()

    async def late(message: bytes, writer: asyncio.StreamWriter) -> bytes:
        await ready.wait()
        return message

    async with Cluster() as cluster:
        filled(cluster, P0, 1, 10)
        async with fetching(cluster) as lab:
            await until(lambda: lab.reader._fetched._answers, "an answer waits")
            cluster.starts[P0] = 5
            cluster.spoils.append(late)
            lab.reader.seek({P0: 0})
            await until(lambda: cluster.asked[-1] == (0, [(P0, 0)]), "it is asked for again")
            await lab.until(10)
            ready.set()
            await lab.quiet()
            assert lab.found == {P0: numbered(10)}
            assert CallEvent.POSITION_RESET not in lab.events


async def test_an_assignment_that_ended_gives_nothing() -> None:
    """Neither what waits nor what is on its way; the next one begins where `begin` says."""
    async with Cluster() as cluster:
        filled(cluster, P0, 100, 10)
        async with fetching(cluster) as lab:
            await lab.until(10, records_max=10)
            lab.reader.end()
            assert lab.reader.high_water(P0) is None
            lab.reader.begin(2, {P0: 500})
            lab.found.clear()
            await lab.until(500)
            assert lab.found == {P0: numbered(500, 500)}


async def test_a_leader_that_moves_is_followed() -> None:
    """The old one says that it leads no more; the metadata say who does."""
    async with Cluster(nodes=2) as cluster:
        filled(cluster, P0, 5, 10)
        filled(cluster, P1, 5, 10, leader=1)
        async with fetching(cluster) as lab:
            await lab.until(100)
            cluster.leaders[P0] = 1
            filled(cluster, P0, 5, 10)
            await lab.until(150)
            assert lab.found == {P0: numbered(100), P1: numbered(50)}


async def test_a_leader_that_moves_with_an_answer_on_its_way_loses_nothing(caplog) -> None:
    """The answer of the old leader is as good as one of the new: it is not given up."""

    async def slow(message: bytes, writer: asyncio.StreamWriter) -> bytes:
        cluster.leaders[P0] = 1
        await lab.reader._client.force_metadata_update()
        return message

    async with Cluster(nodes=2) as cluster:
        filled(cluster, P0, 50, 10)
        cluster.spoils += [slow]
        async with fetching(cluster) as lab:
            await lab.until(500)
            await lab.quiet()
            assert lab.found == {P0: numbered(500)}
            assert "tried again" not in caplog.text


async def test_a_partition_without_a_leader_is_waited_for() -> None:
    """It is asked for again and again where it is led, and others are read meanwhile."""
    async with Cluster(nodes=2) as cluster:
        filled(cluster, P0, 1, 10, leader=-1)
        filled(cluster, P1, 1, 10, leader=1)
        async with fetching(cluster) as lab:
            await lab.until(10)
            cluster.leaders[P0] = 0
            await lab.until(20)
            assert lab.found == {P0: numbered(10), P1: numbered(10)}


@pytest.mark.expects_errors("Unable to (request|update) metadata")
async def test_leaders_are_asked_for_until_there_is_an_answer() -> None:
    """A question that failed is asked again: else a partition would not be read for minutes."""
    async with Cluster() as cluster:
        filled(cluster, P0, 1, 10, leader=-1)
        async with fetching(cluster) as lab:
            cluster.metadata_failures = 2
            await lab.until(holds=lambda: not cluster.metadata_failures)
            cluster.leaders[P0] = 0
            await lab.until(10)


@pytest.mark.expects_errors("Unable connect|Unable to request metadata")
async def test_a_broker_that_is_away_holds_up_nobody_elses_partitions() -> None:
    """It is said once, connected again when it is back, and nothing is lost."""
    async with Cluster(nodes=2) as cluster:
        filled(cluster, P0, 5, 10)
        filled(cluster, P1, 5, 10, leader=1)
        async with fetching(cluster) as lab:
            await lab.until(100)
            await cluster.kill(1)
            filled(cluster, P1, 5, 10)
            filled(cluster, P0, 5, 10)
            await lab.until(150)
            assert len(lab.found[P0]) == 100
            assert lab.reader.silent_s < 5
            await cluster.start(1)
            await lab.until(200)
            assert lab.found == {P0: numbered(100), P1: numbered(100)}


async def test_an_old_broker_leaves_its_partitions_to_aiokafka() -> None:
    """Fetch version 11 is what the fetcher speaks."""
    async with Cluster(versions=(4, 10)) as cluster:
        filled(cluster, P0, 1, 10)
        async with fetching(cluster, {P0: 4}) as lab:
            await lab.until(holds=lambda: lab.reader.by_aiokafka == 1)
            assert lab.member.resumed == {P0: 4}
            assert lab.events == [CallEvent.LEFT_TO_AIOKAFKA]
            connections = cluster.connections
            await lab.quiet()
            assert (cluster.connections, lab.reader.silent_s) == (connections, 0)
            lab.reader.begin(2, {P0: 5})
            await lab.until(holds=lambda: lab.member.resumed == {P0: 5})


async def test_both_kinds_of_partitions_are_read_by_turns() -> None:
    """Neither keeps the other waiting, and each says how far behind it is."""
    old = batch(0, [Row(0, b"old")])
    old = old[:16] + b"\1" + old[17:]
    async with Cluster() as cluster:
        cluster.add(P0, old)
        filled(cluster, P1, 100, 20)
        async with fetching(cluster) as lab:
            await lab.until(holds=lambda: lab.reader.by_aiokafka == 1)
            tp = TopicPartition("calls", 0)
            for offset in range(50):
                fields = {"value": b"call %d" % offset, "timestamp": 0, "headers": ()}
                record = SimpleNamespace(offset=offset, **fields)
                lab.member.fetched.append({tp: [record]})
            lab.batches.clear()
            lab.found.clear()
            await lab.until(holds=lambda: len(lab.found[P0]) == 50, records_max=10)
            assert lab.found[P0] == numbered(50)
            assert max(lab.batches) == 10
            assert (lab.reader.high_water(P0), lab.reader.high_water(P1)) == (4711, 2000)
            lab.reader.seek({P0: 9})
            assert lab.member.resumed == {P0: 9}


async def test_the_groups_errors_come_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regularly aiokafka is asked, though it has no records for us: it keeps us a member."""
    monkeypatch.setattr(fetcher, "GROUP_S", 0.0)
    async with Cluster() as cluster:
        filled(cluster, P0, 1, 10)
        async with fetching(cluster) as lab:
            await lab.until(10)
            lab.member.fetched.append(GroupAuthorizationFailedError("g"))
            with pytest.raises(GroupAuthorizationFailedError):
                await lab.quiet()


async def test_an_old_message_format_is_left_to_aiokafka() -> None:
    """From its offset on, once what lay before it was handed out; other partitions stay."""
    old = batch(10, [Row(0, b"old")])
    old = old[:16] + b"\1" + old[17:]
    async with Cluster() as cluster:
        filled(cluster, P0, 1, 10)
        cluster.add(P0, old)
        filled(cluster, P1, 1, 10)
        async with fetching(cluster) as lab:
            await lab.until(20, lambda: lab.reader.by_aiokafka == 1)
            assert lab.member.resumed == {P0: 10}
            filled(cluster, P1, 1, 10)
            await lab.until(30)


@pytest.mark.parametrize("code", sorted({*MEANINGS, 7, 76, -1, 119} - {1, 2, 29}))
async def test_every_error_that_passes_is_waited_out(code: int) -> None:
    """One partition's error neither ends the worker nor loses anything, nor stops another's."""
    async with Cluster() as cluster:
        filled(cluster, P0, 2, 10)
        filled(cluster, P1, 2, 10)
        cluster.errors[P0] += [code, code]
        async with fetching(cluster) as lab:
            await lab.until(40)
            assert lab.found == {P0: numbered(20), P1: numbered(20)}


async def test_topics_that_may_not_be_read_end_the_worker() -> None:
    """Only an operator can change that, and the message says which."""
    async with Cluster() as cluster:
        filled(cluster, P0, 1, 1)
        cluster.errors[P0] += [29]
        async with fetching(cluster) as lab:
            with pytest.raises(SourceDown, match="lacks the right Read on topic calls"):
                await lab.until(1)


@pytest.mark.parametrize(
    ("start_at", "position", "first"),
    [("earliest", 7, 100), ("earliest", 999, 100), ("latest", 7, 100), ("latest", 999, 200)],
)
async def test_a_position_that_is_gone_is_set_to_where_records_are(
    start_at: str, position: int, first: int
) -> None:
    """Retention passed it: the oldest records left are next. Beyond the end the settings count."""
    async with Cluster() as cluster:
        cluster.starts[P0] = 100
        filled(cluster, P0, 10, 10)
        async with fetching(cluster, {P0: position}, start_at=start_at) as lab:
            await lab.until(holds=lambda: CallEvent.POSITION_RESET in lab.events)
            filled(cluster, P0, 1, 10)
            await lab.until(210 - first)
            assert lab.found == {P0: numbered(210 - first, first)}


async def test_a_place_to_go_on_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the leader cannot be asked where the log begins, nothing is guessed."""
    async with Cluster() as cluster:
        cluster.starts[P0] = 100
        filled(cluster, P0, 1, 10)
        async with fetching(cluster, {P0: 7}) as lab:
            asked = lab.member.beginning_offsets
            answers = [KafkaError("no leader")]

            async def unable(tps):
                if answers:
                    raise answers.pop()
                return await asked(tps)

            monkeypatch.setattr(lab.member, "beginning_offsets", unable)
            await lab.until(10)
            assert not answers
            assert lab.found == {P0: numbered(10, 100)}


async def test_a_large_answer_is_worked_on_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch is made of more than a group, however many partitions an answer has."""
    monkeypatch.setattr(fetched_batches, "GROUP_BYTES", 100)
    async with Cluster() as cluster:
        for partition in (P0, P1, P2):
            filled(cluster, partition, 1, 30)
        async with fetching(cluster, answer_bytes=16_000) as lab:
            await lab.until(90)
            assert max(lab.batches) == 30
            assert lab.found == dict.fromkeys((P0, P1, P2), numbered(30))


@pytest.mark.needs_openssl
async def test_a_connection_that_is_encrypted_is_taken_over_as_well(tmp_path: Path) -> None:
    """A connection that aiokafka opened with TLS is received from in the same way."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=here"
    files = ["-keyout", str(key), "-out", str(cert), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
    listens = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    listens.load_cert_chain(cert, key)
    trusts = ssl.create_default_context(cafile=str(cert))
    async with Cluster(tls=listens) as cluster:
        filled(cluster, P0, 100, 20)
        cluster.records(P0, [b"x" * 300_000])
        async with fetching(cluster, answer_bytes_max=2**20, tls=trusts) as lab:
            await lab.until(2001)
            assert lab.found[P0][:-1] == numbered(2000)
            assert lab.found[P0][-1] == (2000, b"x" * 300_000)


async def test_a_bug_beside_the_loop_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that runs by itself dies in silence while calls wait."""
    async with Cluster() as cluster:
        filled(cluster, P0, 1, 10)
        async with fetching(cluster) as lab:
            await lab.until(10)
            monkeypatch.setattr(Broker, "tend", None)
            with pytest.raises(TypeError, match="not callable"):
                await lab.until(holds=lambda: False)


@pytest.mark.expects_errors("Unable connect|Unable to (request|update) metadata")
async def test_silence_is_the_brokers_not_the_workers() -> None:
    """Seconds count while a broker owes an answer or is away, not while answers wait for us."""
    async with Cluster() as cluster:
        filled(cluster, P0, 200, 20)
        async with fetching(cluster) as lab:
            await lab.until(1, records_max=1)
            await asyncio.sleep(0.2)
            assert lab.reader.silent_s == 0
            await lab.until(4000)
            await cluster.kill(0)
            await lab.until(holds=lambda: lab.reader.silent_s > 0.2)
            await cluster.start(0)
            filled(cluster, P0, 1, 20)
            await lab.until(4020, lambda: lab.reader.silent_s < 0.2)


async def test_a_partition_that_nobody_leads_is_silence_too() -> None:
    """A broker that goes in order says that before it goes: then none is left that could answer."""
    async with Cluster() as cluster:
        filled(cluster, P0, 2, 20)
        async with fetching(cluster) as lab:
            await lab.until(40)
            cluster.leaders[P0] = -1
            await lab.until(holds=lambda: lab.reader.silent_s > 0.2)
            cluster.leaders[P0] = 0
            filled(cluster, P0, 1, 20)
            await lab.until(60, lambda: lab.reader.silent_s < 0.2)
