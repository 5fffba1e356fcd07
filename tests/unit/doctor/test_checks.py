"""Each check reports ok where all is right, and the fix where it is not."""

import asyncio
import os
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from typer.testing import CliRunner

from stream.calls.crash_notes import FOLDER, Crash, CrashFile, NotedRecord, SetAside
from stream.cli.main import app
from stream.config.settings import Settings, load
from stream.core.filters.blocklists import fresh
from stream.core.model.errors import ListStoreDown
from stream.core.policy.rules import RuleState
from stream.doctor import expiry_checks, machine_checks, process_checks, redis_checks
from stream.doctor.kafka_checks import check_registry, replica_lines, right, topic_lines
from stream.doctor.result import CheckLine, Grade, fail, ok, warn
from stream.doctor.run_checks import _apart, sound, within
from stream.edge.http.tokens import Client, ClientRole, line_of, read_tokens
from stream.kafka.topics import TopicReport, TopicState
from stream.lists.store.heads import ListHead
from stream.ops.monitor.rates import MetricsReading, read
from stream.ops.monitor.scrape import ScrapeAnswer
from stream.ops.monitor.targets import MonitorTarget, ProcessKind
from tests.support import certificates
from tests.support.builders import bare
from tests.support.schema_registry import MAPPING, scripted_registry
from tests.support.signed_calls import Authority

NOW_S = 1_764_104_645
DAY_S = 86_400


def grades(lines) -> list[str]:
    """Return the state of each line."""
    return [str(line.grade) for line in lines]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("state", "agreements", "circles", "keys"):
        (tmp_path / name).mkdir(mode=0o700)
    config = tmp_path / "x.toml"
    config.write_text(
        f"""
lists.state_dir = "{tmp_path}/state"
feeds.dir = "{tmp_path}/feeds"
agreements.dir = "{tmp_path}/agreements"
[exchange]
dir = "{tmp_path}/repository"
circles_dir = "{tmp_path}/circles"
keys_dir = "{tmp_path}/keys"
"""
    )
    return load([config], {})


def test_the_schema_registry_and_the_schemas_of_topics(tmp_path: Path) -> None:
    """A subject that can be used, one that cannot, one by another name; and a registry that is
    away, of which no second topic is asked.
    """
    with scripted_registry() as registry:
        config = tmp_path / "registry.toml"
        config.write_text(
            f"""
[schema_registry]
url = "{registry.url}"
[calls.topics]
"calls.a" = "registry:mapping:acme"
"calls.b" = "registry:mapping:acme"
"calls.c" = "registry:ringfence"
"calls.d" = "ringfence"
{MAPPING}"""
        )
        settings = load([config], {})
        registry.subjects["calls.a-value", "latest"] = {"id": 1, **registry.schemas[1]}
        registry.schemas[7] = {"schema": "no schema"}
        registry.subjects["calls.b-value", "latest"] = {"id": 7, **registry.schemas[7]}
        lines = [*check_registry(settings)]
        assert grades(lines) == ["ok", "fail", "warn"]
        assert lines[0].said == "calls.a-value: schema 1 (AVRO) can be used"
        assert "schema 7 cannot be used" in lines[1].said
        assert "no subject calls.c-value" in lines[2].said
        registry.status = 503
        (away,) = check_registry(settings)
        assert (str(away.grade), "answers 503" in away.said) == ("fail", True)


def test_without_a_schema_registry_nothing_is_said_of_one(settings: Settings) -> None:
    """Most carriers have none."""
    assert [*check_registry(settings)] == []


def test_topics_and_their_replicas() -> None:
    """Missing, other than wanted, without a leader, with too few copies; and well."""
    reports = [
        TopicReport("a", TopicState.KEPT, ()),
        TopicReport("b", TopicState.KEPT, ("4 partitions, 12 wanted",)),
        TopicReport("c", TopicState.MISSING, ()),
    ]
    lines = [*topic_lines(reports)]
    assert grades(lines) == ["ok", "warn", "fail"]
    assert lines[2].fix == "ringfence topics create"

    def topic(**fields) -> dict[str, Any]:
        plain = {"partition": 0, "leader": 1, "replicas": [1], "isr": [1]}
        return {"topic": "t", "partitions": [plain | fields]}

    states = [topic(), topic(leader=-1), topic(isr=[])]
    assert [grades(replica_lines([one], 1)) for one in states] == [[], ["fail"], ["warn"]]
    assert right("write t", PermissionError, "kafka-acls.sh").fix == "kafka-acls.sh"
    assert right("write t", None, "").grade is Grade.OK


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, ["ok"]),
        ({"used_memory": 90, "maxmemory": 100}, ["ok", "warn"]),
        ({"evicted_keys": 3}, ["ok", "fail"]),
        ({"aof_last_write_status": "err"}, ["ok", "fail"]),
    ],
)
def test_what_redis_says_of_itself(info, expected) -> None:
    """Full memory, keys thrown away, a file that cannot be written."""
    assert grades(redis_checks.redis_lines("redis", info)) == expected


def test_who_lost_keys_is_told_what_writes_them_anew() -> None:
    """Lists are repaired, one by one; the proxies' keys are made by their sink at its start."""
    fixes = {
        check: [*redis_checks.redis_lines(check, {"evicted_keys": 3})][1].fix
        for check in (redis_checks.LIST_STORE, "proxies' redis")
    }
    assert "lists repair" in fixes[redis_checks.LIST_STORE]
    assert "restart the sink" in fixes["proxies' redis"]


def test_clocks() -> None:
    """A second is much for ages, ten are too many; the kernel says whether it is synchronised."""
    assert [str(redis_checks.clock_line("redis", ahead).grade) for ahead in (0.2, -2.0, 60.0)] == [
        *("ok", "warn", "fail")
    ]
    assert [str(redis_checks.synchronised_line(state).grade) for state in (0, 5, -1)] == [
        *("ok", "warn", "warn")
    ]


def test_the_state_directory(settings: Settings) -> None:
    """Ours and private; open to all; not there; no room."""
    assert grades(machine_checks.check_state(Path(settings.lists.state_dir))) == ["ok", "ok"]
    folder = Path(settings.lists.state_dir)
    folder.chmod(0o777)
    lines = [*machine_checks.check_state(Path(settings.lists.state_dir))]
    assert lines[0].fix == f"chmod o-w {folder}"
    folder.chmod(0o700)
    folder.rmdir()
    assert grades(machine_checks.check_state(Path(settings.lists.state_dir))) == ["warn"]
    sizes = (10 * 1024**3, 1024**3, 1024**2)
    found = [str(machine_checks.space_line(folder, free).grade) for free in sizes]
    assert found == ["ok", "warn", "fail"]


def test_lists_here_against_the_register() -> None:
    """All there; one behind; one missing; the register away."""

    def head(generation: int) -> ListHead:
        return ListHead("KH/scam", generation, 1, "", "plain", 1, 0, "x", 0)

    assert grades(machine_checks.behind_lines({"KH/scam": 5}, {"KH/scam": head(5)})) == ["ok"]
    (late,) = machine_checks.behind_lines({"KH/scam": 5}, {"KH/scam": head(7)})
    assert late.said == "KH/scam is 2 generations behind"
    assert grades(machine_checks.behind_lines({}, {"KH/scam": head(7)})) == ["warn"]
    assert grades(machine_checks.behind_lines({}, None)) == ["warn"]


def snapshots(settings: Settings) -> list[CheckLine]:
    folder = Path(settings.lists.state_dir)
    return [*machine_checks.check_snapshots(folder, settings.circle_keys(), {})]


def test_a_damaged_state_file_is_found(settings: Settings) -> None:
    """Files that a crash or a person left incomplete."""
    found = list(snapshots(settings))
    assert {line.grade for line in found} == {Grade.OK}
    assert len(found) == 2  # all are there, and no filter is too coarse
    (Path(settings.lists.state_dir) / "register.json").write_text("{")
    assert grades(snapshots(settings)) == ["fail"]


def test_agreements(settings: Settings) -> None:
    """A file that cannot be used is named."""
    assert grades(expiry_checks.check_agreements(settings, NOW_S)) == ["ok"]
    (Path(settings.agreements.dir) / "bad.toml").write_text("titel = 1\n")
    lines = [*expiry_checks.check_agreements(settings, NOW_S)]
    assert lines[0].grade is Grade.FAIL
    assert "bad.toml" in lines[0].said


def test_keys_are_private(settings: Settings) -> None:
    """A key that others may read is no secret any more."""
    assert grades(expiry_checks.check_keys(settings.exchange, (), {})) == ["ok", "ok"]
    key = Path(settings.exchange.circles_dir) / "asean.key"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    assert next(expiry_checks.check_keys(settings.exchange, (), {})).said.startswith("asean")
    key.chmod(0o644)
    assert "chmod 600" in next(expiry_checks.check_keys(settings.exchange, (), {})).fix
    (Path(settings.exchange.keys_dir) / "x.pem").write_text("no key")
    assert grades(expiry_checks.check_keys(settings.exchange, (), {})) == ["fail", "fail"]


def test_what_is_published(settings: Settings) -> None:
    """Nothing is no fault; a repository that cannot be read is."""
    assert [*expiry_checks.check_roles(Path(settings.exchange.dir), NOW_S)] == []
    (Path(settings.exchange.dir) / "metadata").mkdir(parents=True)
    assert grades(expiry_checks.check_roles(Path(settings.exchange.dir), NOW_S)) == ["fail"]


@pytest.mark.needs_openssl
def test_certificates(tmp_path: Path) -> None:
    """Good, about to expire, expired, none."""
    certificates.authority(tmp_path)
    made = tmp_path / "ca.pem"
    ends = x509.load_pem_x509_certificates(made.read_bytes())[0].not_valid_after_utc
    moments = [ends - timedelta(days=31), ends - timedelta(days=2), ends + timedelta(days=1)]
    found = [expiry_checks.certificate_line("x", made, int(one.timestamp())) for one in moments]
    assert grades(found) == ["ok", "warn", "fail"]
    broken = tmp_path / "none.pem"
    broken.write_text("x")
    now_s = int(datetime.now(UTC).timestamp())
    assert expiry_checks.certificate_line("x", broken, now_s).grade is Grade.FAIL


@pytest.mark.needs_openssl
def test_a_key_of_another_certificate(settings: Settings, tmp_path: Path) -> None:
    """Each file is good by itself, and `serve` would not start."""
    for name in ("one", "two"):
        certificates.authority(tmp_path, name)
    now_s = int(datetime.now(UTC).timestamp())
    one, other = f"{tmp_path}/one.pem", f"{tmp_path}/two-key.pem"
    mixed = replace(settings, serve=replace(settings.serve, cert_file=one, key_file=other))
    found = [*expiry_checks.check_certificates(mixed, now_s)]
    assert grades(found) == ["warn", "fail"]
    assert found[1].said.startswith("serve: its files of TLS cannot be used: ")


@pytest.mark.expects_errors("a signer's certificate is not trusted")
def test_certificates_of_signers(settings: Settings, tmp_path: Path) -> None:
    """Nothing where none are used; none, good and useless ones; authorities that no rule needs."""
    now_s = int(datetime.now(UTC).timestamp())
    assert grades(expiry_checks.check_signers(settings, now_s)) == []
    root = Authority(now_s)
    (tmp_path / "roots.pem").write_bytes(root.pem)
    (tmp_path / "signers").mkdir()
    roots, signers = (str(tmp_path / name) for name in ("roots.pem", "signers"))
    rules = replace(settings.policy.rules, attestation_failed=RuleState.BLOCK)
    here = replace(
        settings,
        stir=replace(settings.stir, trusted=roots, certificates=signers),
        policy=replace(settings.policy, rules=rules),
    )
    assert grades(expiry_checks.check_signers(here, now_s)) == ["warn"]
    root.signer().put_into(tmp_path / "signers")
    assert grades(expiry_checks.check_signers(here, now_s)) == ["ok"]
    (late,) = expiry_checks.check_signers(here, now_s + 3 * 86_400)
    assert late.said.endswith("expired")
    Authority(now_s).signer().put_into(tmp_path / "signers", "https://x.example/y.pem")
    (line,) = expiry_checks.check_signers(here, now_s)
    assert line.said.startswith("2 certificates of signers, 1 not usable: https://x.example/y.pem")
    unused = replace(here, policy=settings.policy)
    assert grades(expiry_checks.check_signers(unused, now_s)) == ["warn", "warn"]


def test_files_of_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode 0600; open to others; given by a group, also where root asks; not there."""
    tokens = tmp_path / "tokens"
    tokens.write_text("x")
    tokens.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(tokens, 1000, -1)
    monkeypatch.setattr(os, "geteuid", lambda: tokens.stat().st_uid)
    environ = {"RINGFENCE_HTTP_TOKENS_FILE": str(tokens), "HOME": "/", "RINGFENCE_CONFIG": "x"}
    assert grades(expiry_checks.check_secret_files(environ)) == ["ok"]
    tokens.chmod(0o640)
    assert next(expiry_checks.check_secret_files(environ)).fix == f"chmod 600 {tokens}"
    # Another's file, which our group may read, as in a volume of Kubernetes; nobody else may.
    monkeypatch.setattr(os, "geteuid", lambda: tokens.stat().st_uid + 1)
    assert grades(expiry_checks.check_secret_files(environ)) == ["ok"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert grades(expiry_checks.check_secret_files(environ)) == ["ok"]
    for mode in (0o644, 0o460):
        tokens.chmod(mode)
        assert next(expiry_checks.check_secret_files(environ)).fix == f"chmod 640 {tokens}"
    tokens.unlink()
    assert grades(expiry_checks.check_secret_files(environ)) == ["fail"]


def test_tokens_that_end(settings: Settings) -> None:
    """A client whose token is over fails, one whose token ends soon is a warning, others are not
    named.
    """
    day_s = 86_400
    lines = [
        line_of(Client(name, ClientRole.SWITCH, ends_s), f"rf_{name}")
        for name, ends_s in (
            ("over", day_s),
            ("soon", 12 * day_s),
            ("later", 99 * day_s),
            ("no", 0),
        )
    ]
    held = read_tokens("\n".join(lines), [])
    found = list(expiry_checks.check_tokens(held, 2 * day_s))
    assert grades(found) == ["fail", "warn", "ok"]
    assert "over expired 24 h ago" in found[0].said
    assert "soon expires in 10 days" in found[1].said
    assert found[2].said.startswith("4 clients")
    assert list(expiry_checks.check_tokens(settings.secrets.http_tokens, 0)) == []


def test_versions_and_limits(settings: Settings) -> None:
    """Packages other than locked, kernels that are not compiled, few open files."""
    lock = "numpy==0.0.1 \\\n    --hash=x\nno-such-package==1 \\\n"
    assert machine_checks.packages_line(lock).grade is Grade.WARN
    both = f"{lock}numpy=={version('numpy')} ; x\n"
    assert grades([machine_checks.packages_line(both), machine_checks.packages_line("")]) == [
        "ok",
        "ok",
    ]
    found = machine_checks.check_versions(settings.ops, Path(settings.lists.state_dir))
    assert Grade.WARN in {one.grade for one in found}  # no kernels
    assert [str(machine_checks.files_line(limit).grade) for limit in (65_536, 256)] == [
        "ok",
        "warn",
    ]


def test_ports() -> None:
    """Ours and ready; ours and not; free; somebody else's."""
    reading = MetricsReading(0.0, 0.0)
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        free = MonitorTarget(
            "engine", ProcessKind.ENGINE, f"http://127.0.0.1:{theirs.getsockname()[1]}"
        )
        answers = [
            ScrapeAnswer(free, reading, ready=True),
            ScrapeAnswer(free, reading, missing=("lists",)),
        ]
        answers.append(ScrapeAnswer(free, None, why="connection refused"))
        assert grades(process_checks.port_lines(answers)) == ["ok", "warn", "ok"]
        theirs.listen(1)
        assert grades(process_checks.port_lines([ScrapeAnswer(free, None, why="answers 404")])) == [
            "fail"
        ]


async def test_a_check_that_hangs_or_fails_is_a_line() -> None:
    """A disk that does not answer keeps nobody from the other lines, nor from leaving."""
    released = threading.Event()

    def hang() -> list[CheckLine]:
        released.wait()
        return []

    def down() -> list[CheckLine]:
        raise ListStoreDown("is away")

    (slow,) = await within("disk", _apart(hang), 0.05)
    assert "no answer within" in slow.said
    released.set()
    (broken,) = await within("redis", _apart(down), 5.0)
    assert broken.said == "ListStoreDown: is away"
    assert await within("x", _apart(lambda: [ok("x", "y")]), 5.0) == [ok("x", "y")]
    await asyncio.sleep(0)


def test_warnings_are_no_failure() -> None:
    """The exit code is for what does not work."""
    assert sound([ok("a", ""), warn("b", "", "")])
    assert not sound([ok("a", ""), fail("b", "", "")])


def test_a_wrong_configuration_is_a_line_too(tmp_path: Path) -> None:
    """Doctor runs where nothing else does."""
    config = tmp_path / "x.toml"
    config.write_text("[kafka]\nbootstrap_server = 1\n")
    done = CliRunner().invoke(app, ["doctor", "--config", str(config), "--json"])
    assert done.exit_code == 1
    assert "is no setting" in done.output


def test_records_that_stop_workers_are_named(settings: Settings) -> None:
    """Where the record lies and where it went; what workers stopped at; and well."""
    (line,) = process_checks.check_set_aside(Path(settings.lists.state_dir), "calls.rejected")
    assert (line.grade, line.said) == (Grade.OK, "none is known here")
    folder = Path(settings.lists.state_dir, FOLDER)
    folder.mkdir()
    crash = Crash("calls", 3, 7, 7, NOW_S * 1000, True, NOW_S * 1000)
    aside = SetAside(NotedRecord("calls", 3, 7, NOW_S * 1000), NOW_S * 1000)
    (folder / "crashes.json").write_bytes(msgspec.json.encode(CrashFile(1, [crash], [aside])))
    record, workers = process_checks.check_set_aside(
        Path(settings.lists.state_dir), "calls.rejected"
    )
    assert record.grade is Grade.WARN
    assert record.said == (
        "calls/3/7 stopped workers and is in calls.rejected since 2025-11-25 21:04 UTC"
    )
    assert workers.said == "1 times lately a worker crashed at work on calls/3"


def test_trunks_that_nobody_configured_are_told() -> None:
    """By the count of each running worker; a process that does not answer says nothing."""
    place = MonitorTarget("engine", ProcessKind.ENGINE, "http://127.0.0.1:9464")

    def counted(calls_: float) -> ScrapeAnswer:
        samples: Any = {"ringfence_calls_unknown_trunk_total": {(): calls_}}
        return ScrapeAnswer(place, MetricsReading(0.0, 0.0, samples))

    silent = ScrapeAnswer(place, None, why="connection refused")
    lines = process_checks.trunk_lines([counted(12.0), counted(0.0), silent])
    assert [line.said for line in lines] == [
        "engine: 12 calls or more named a trunk that is not configured"
    ]


def test_lists_that_name_whom_they_may_not() -> None:
    """The engine counts them by list and reason; filters that nothing confirms are left out."""
    place = MonitorTarget("engine", ProcessKind.ENGINE, "http://127.0.0.1:1")
    text = 'ringfence_calls_total{topic="calls"} 9\n'
    quiet = ScrapeAnswer(place, read(text, at_s=0.0, tick_s=0.0), ready=True)
    (line,) = process_checks.scope_lines([quiet])
    assert (line.grade, "no list matched" in line.said) == (Grade.OK, True)
    name = "ringfence_matches_out_of_scope_total"
    for labels, count in (
        ('list="KH/scam",reason="country_not_allowed",confirmed="true"', 1200),
        ('list="KH/scam",reason="own_service_number",confirmed="true"', 2),
        ('list="MM/bare",reason="country_not_allowed",confirmed="false"', 7),
    ):
        text += f"{name}{{{labels}}} {count}\n"
    found = list(
        process_checks.scope_lines(
            [ScrapeAnswer(place, read(text, at_s=0.0, tick_s=0.0), ready=True)]
        )
    )
    assert grades(found) == ["warn", "warn"]
    assert "KH/scam matched 1,200 numbers of countries that it may not list" in found[0].said
    assert "of our own" in found[1].said
    assert "ringfence lists show KH/scam" in found[0].fix
    assert not list(
        process_checks.scope_lines([ScrapeAnswer(place, None, why="connection refused")])
    )


def test_filters_that_match_too_many_together() -> None:
    """Each within its bound, several bare lists may still match one caller in a hundred."""
    few = [fresh(f"K{n}/bare", b"", bare(f"K{n}/bare", ["+85531000001"], rate=0.004), 0)
           for n in range(4)]  # fmt: skip
    assert machine_checks.chance_line(few[:2]).grade is Grade.OK
    line = machine_checks.chance_line(few)
    assert line.grade is Grade.WARN
    assert "4 lists without entries match 0.016 of all numbers" in line.said
    assert "K0/bare, K1/bare, K2/bare, K3/bare" in line.fix
