"""Settings are read strictly, and every error is said at once with file and key."""

from pathlib import Path

import pytest

from stream.calls.settings import BATCH_BYTES_MAX
from stream.cli import common
from stream.config.bundled_files import location
from stream.config.settings import Settings, load
from stream.core.model.call import Ingress
from stream.core.model.decision import Action
from stream.core.model.errors import ConfigInvalid
from stream.core.policy.rules import RuleState
from stream.kafka.settings import TopicLimits
from stream.kafka.topics import MESSAGE_BYTES_DEFAULT
from stream.ops.renewed_secret import text_of
from tests.support.forbidden import forbidden

KEY = "ab" * 32
STATES = '"off", "observe", "simulate", "flag" or "block"'
COUNTRY = "of ISO 3166 in two capitals"


@pytest.fixture
def errors(tmp_path: Path):
    """The errors that a file with this text leads to, without its path."""

    def read(text: str, environ: dict[str, str] | None = None) -> list[str]:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        with pytest.raises(ConfigInvalid) as found:
            load([path], environ or {})
        places = (f"{path}: ", f"{location('settings')}: ")
        return [
            error.removeprefix(places[0]).removeprefix(places[1]) for error in found.value.errors
        ]

    return read


@pytest.fixture
def settings(tmp_path: Path):
    """The settings that a file with this text leads to."""

    def read(text: str, environ: dict[str, str] | None = None) -> Settings:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return load([path], environ or {})

    return read


def test_the_defaults_alone_are_valid() -> None:
    """Without any configuration the engine works with a Kafka and a Redis on this machine."""
    assert load([], {}).kafka.bootstrap_servers == "127.0.0.1:9092"
    assert location("settings").name == "default.toml"


def test_later_files_lie_over_earlier_ones(tmp_path: Path) -> None:
    """Each file changes only the keys that it names."""
    (tmp_path / "a.toml").write_text('[calls]\ngroup_id = "a"\nbatch_wait_ms = 7\n')
    (tmp_path / "b.toml").write_text('[calls]\ngroup_id = "b"\n')
    read = load([tmp_path / "a.toml", tmp_path / "b.toml"], {}).calls
    assert (read.group_id, read.batch_wait_ms, read.emit) == ("b", 7, "blocks")


def test_all_errors_are_said_at_once(errors) -> None:
    """An operator corrects a file in one go: each error has its key and what is allowed."""
    found = errors(
        """
        [kafka]
        bootstrap_server = "x"
        client_id = 5
        [calls]
        batch_wait_ms = 40000
        home_country = "th"
        [trunks.a]
        ingress = "abroad"
        asserted_identity = true
        [circles.asean]
        key_env = "RF_ASEAN"
        [policy.rules]
        invalid_caller = "deny"
        """
    )
    assert found == [
        "kafka.client_id: must be text, not 5",
        "kafka.bootstrap_server: is no setting; did you mean kafka.bootstrap_servers?",
        f'calls.home_country: must be a country {COUNTRY}, not "th"; did you mean "TH"?',
        "trunks.a.country: is missing",
        'trunks.a.ingress: must be "international", "domestic" or "unknown", not "abroad"',
        'trunks.a.asserted_identity: must be "trusted" or "untrusted", not true',
        f'policy.rules.invalid_caller: must be {STATES}, not "deny"',
        # Only a second look, past the wrong values, can see this one.
        "calls.batch_wait_ms: must be below rebalance_timeout_ms (30000)",
        "environment: RF_ASEAN: is not set; it is the key of circles.asean",
    ]


# One wrong setting a line, and what must be said of it, with `...` at least so much.
WRONG = """
calls.partitions = "5" -> must be a whole number, not "5"
calls.partitions = true -> must be a whole number, not true
calls.partitions = 1.0 -> must be a whole number, not 1.0
calls.partitions = 0 -> must be 1 to 10000, not 0
calls.check_callee = 1 -> must be true or false, not 1
redis.timeout_s = false -> must be a number, not false
redis = 5 -> must be a table, not 5
ops.http_port = 70000 -> must be 0 to 65535, not 70000
ops.watch = ["10.0.0.5:9464"] -> must be an address, https://...
ops.watch = ["http://a:b@h:1"] -> must hold no user and password; ...
ops.watch = ["http://h:1/metrics"] -> must end after the port, like http://10.0.0.5:9464, ...
policy.emergency.TH = "1669" -> must be a list, not "1669"
policy.emergency.TH.x = 1 -> must be a list, not {'x': 1}
opps.x = 1 -> is no setting; did you mean ops?
calls.sip_location = 1 -> is no setting; did you mean policy.sip_location?
kafka.bootstrap_servers = "a:1,b" -> must be host:port, comma separated; "b" is none
kafka.cert_file = "no/such" -> names no file: "no/such"
kafka.bootstrap_servers = "SSL://a:1" -> must be host:port, comma separated; "SSL://a:1" is none
redis.url = "redis://h:99999/0" -> is no address: Port out of range 0-65535
redis.url = "http://h" -> must begin with redis://, rediss:// (TLS) or unix://, not "http:"
calls.topics.x = "mapping:y" -> names no table [mappings.y]; known: there is none
calls.topics.x = "cisco" -> no dialect is called 'cisco'; there are ringfence, ...
calls.topics.x = "kamailio:y" -> names no table [switches.y]; known: there is none
calls.topics.x = "ringfence:y" -> the dialect ringfence says all by itself: ...
calls.topics.x = "asterisk-csv" -> asterisk-csv has local times without a zone: ...
switches.x = {time_zone = "Bangkok"} -> time_zone: a time zone is written like Asia/...
switches.x.trunk = "y" -> names no table [trunks.y]; known: there is none
calls.topics.decisions = "ringfence" -> is written by Ringfence and cannot be read as calls
calls.topics = {} -> names no topic to read: write for example calls = "ringfence"
calls.rejected_topic = "decisions" -> must not be decisions_topic as well
policy.lists.scam.simulate = true -> names no list; a list is "<owner>/<name>", ...
policy.lists."a/b" = {confidence_min = 101} -> confidence_min must be 0 to 100, not 101
policy.lists."a/b" = {decay_days = -1.0} -> decay_days must be 0 (off) to 36500, not -1.0
policy.lists."a/b" = {decay_speed = 0.0} -> decay_speed must be 0.01 to 100, not 0.0
policy.default.action = "off" -> must be "observe", "flag" or "block", not "off"
policy.rules.trunks.x = {} -> names no table [trunks.x]; known: there is none
policy.rules.countries.th = {} -> must be a country of ISO 3166 in two capitals, not "th"; ...
policy.rules.countries.TH.invalid = "off" -> is no rule; did you mean invalid_caller?
policy.rules.countries.TH.invalid_caller = "on" -> must be "off", "observe", "simulate", ...
policy.rules.do_not_originate_lists = ["dno"] -> names no list; a list is "<owner>/<name>", ...
policy.rules = {do_not_originate_lists = ["a/b"], home_number_from_abroad_except = ["a/b"]} -> ...
policy.rules.bursts.calls = 2 -> must be 3 to 1000, not 2
policy.redress_url = "https://x/" -> must hold {decision_id} and no quotation mark
policy.redress_url = "x" -> must be an address, https://...
circles.plain = {} -> is the circle without a key and needs no table; choose another name
mappings.x = {} -> is missing
mappings.x = {format = "csv", kinds = {"0" = {A = "y"}}} -> names no table [mappings.y] without ...
lists.bases_kept = 1 -> must be 2 to 100, not 1
lists.bases_kept_days = -1.0 -> must be 0 to 36500, not -1.0
lists.rebuild_changes = -1 -> must be 0 to 900000, not -1
owners.KH = {} -> is missing
owners.KH.contact = "" -> must not be empty
lists.prefix_digits_min.KH = 1 -> must be 2 to 14, not 1
lists.prefix_digits_min.TH = 15 -> must be 2 to 14, not 15
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_a_wrong_value_is_named(errors, line: str) -> None:
    """Nothing is guessed or converted: the message says where, what, and what is allowed."""
    text, _, expected = line.partition(" -> ")
    place = text.partition(" =")[0].removesuffix(".simulate").removesuffix(".TH.x")
    cut = expected.endswith("...")
    found = [
        error
        for error in errors(text, {"X": KEY})
        if (f": {expected[:-3]}" in error if cut else error.endswith(f": {expected}"))
    ]
    assert len(found) == 1
    assert found[0].startswith(place.removesuffix(".x"))


def test_the_steps_own_limits_are_errors_of_their_keys(errors) -> None:
    """A setting that a step cannot work with is found before anything is started."""
    (error,) = errors("calls.rebalance_timeout_ms = 5000")
    assert error.startswith("calls.rebalance_timeout_ms: must be at least")
    (error,) = errors('calls.delivery = "exactly_once"\ncalls.session_timeout_ms = 9000')
    assert error.startswith("calls.delivery: exactly_once needs calls.session_timeout_ms")


def test_files_that_can_not_be_read_are_errors_too(tmp_path: Path) -> None:
    """A missing file and one that is no TOML are both said, with the place in the file."""
    broken = tmp_path / "broken.toml"
    broken.write_text("[calls\n")
    with pytest.raises(ConfigInvalid) as found:
        load([tmp_path / "none.toml", broken], {})
    missing, syntax = found.value.errors
    assert missing == f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory"
    assert syntax.startswith(f"{broken}: is no TOML: ")
    assert "line 1" in syntax


def test_files_of_windows_editors_are_read(tmp_path: Path) -> None:
    """A byte order mark and CRLF belong neither to the settings nor to a secret."""
    made, key = tmp_path / "made.toml", tmp_path / "key"
    made.write_bytes(b'\xef\xbb\xbf[calls]\r\ngroup_id = "a"\r\n')
    key.write_bytes(b"\xef\xbb\xbfhunter2\r\n")
    read = load([made], {"RINGFENCE_REDIS_PASSWORD_FILE": str(key)})
    assert read.calls.group_id == "a"
    assert read.secrets.redis_password == "hunter2"
    assert text_of(read.secrets.followed["redis_password"]) == "hunter2"


def test_own_topics_replace_the_default(settings) -> None:
    """With named topics those are read and no other; two tables add up."""
    assert settings('[calls.topics]\nmine = "ringfence"').calls.topics == {"mine": "ringfence"}


def test_a_lists_policy_begins_with_the_default(settings) -> None:
    """A setting missing in a list's table is that of [policy.default]."""
    policy = settings(
        '[policy.default]\nconfidence_min = 40\n[policy.lists."KH/scam"]\naction = "flag"'
    ).policy.settings()
    assert policy.lists["KH/scam"].action is Action.FLAG
    assert policy.lists["KH/scam"].confidence_min == 40


def test_rules_differ_by_country_and_trunk(settings) -> None:
    """A trunk's word goes before its country's, that before the default; else all are off."""
    rules = (
        settings(
            """
            [trunks.intl-1]
            country = "LA"
            [policy.rules]
            unassigned_block = "flag"
            [policy.rules.countries.LA]
            unassigned_block = "off"
            invalid_caller = "observe"
            [policy.rules.trunks.intl-1]
            invalid_caller = "simulate"
            """
        )
        .policy.settings()
        .rules
    )
    assert rules.state("unassigned_block", None, "TH") is RuleState.FLAG
    assert rules.state("unassigned_block", "intl-1", "LA") is RuleState.OFF
    assert rules.state("invalid_caller", None, "LA") is RuleState.OBSERVE
    assert rules.state("invalid_caller", "intl-1", "LA") is RuleState.SIMULATE
    assert rules.state("impossible_length", "intl-1", "LA") is RuleState.OFF
    assert rules.state("do_not_originate", None, "TH") is RuleState.OFF


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (TopicLimits(10**9, 10**9), BATCH_BYTES_MAX),
        (TopicLimits(40_000, 10**9), 40_000),
        (TopicLimits(10**9, 30_000), 30_000),
        (TopicLimits(1, 1), 1024),
    ],
)
def test_a_record_batch_is_no_larger_than_its_topic_takes(settings, limits, expected) -> None:
    """A topic with a small `max.message.bytes` gets smaller batches instead of refusing ours."""
    read = settings("")
    assert read.calls.publish(read.kafka, limits).batch_bytes_max == expected


def test_batches_of_records_stay_below_what_kafka_takes_as_delivered(settings) -> None:
    """Also where a single record may be larger: its topic takes it, or refuses it alone."""
    read = settings("calls.record_bytes_max = 4194304")
    options = read.calls.producer_options(read.kafka)
    assert options["max_batch_size"] < MESSAGE_BYTES_DEFAULT < options["max_request_size"]


def test_how_short_a_prefix_may_be_is_said_by_country(settings) -> None:
    """A country of one's own is added to those of the defaults; others have theirs."""
    rules = settings("[lists.prefix_digits_min]\nKH = 8\nothers = 10").lists.prefixes()
    assert (rules.countries["KH"], rules.countries["TH"], rules.default) == (8, 7, 10)


def test_trunks_become_the_calls_own(settings) -> None:
    """A trunk's country, side of the border and trust reach the engine; nobody is trusted unless
    the configuration says so.
    """
    trunks = settings(
        '[trunks.x]\ncountry = "KH"\ningress = "international"\n'
        '[trunks.y]\ncountry = "TH"\nasserted_identity = "trusted"'
    ).trunks_by_name()
    assert [trunks.vouches(name) for name in ("x", "y", "other", None)] == [
        False,
        True,
        False,
        False,
    ]
    assert trunks.country("x") == "KH"
    assert trunks.ingress("x", None) is Ingress.INTERNATIONAL
    assert trunks.country("other") == "TH"


def test_a_mapping_of_ones_own_is_known(settings) -> None:
    """A topic may be read by a table of the configuration."""
    text = '[calls.topics]\nx = "mapping:acme"\n[mappings.acme]\nformat = "json"\n'
    read = settings(text + 'fields = { call_id = "i", caller = "a", callee = "b" }')
    assert read.mappings["acme"].fields["caller"] == "a"


def test_secrets_come_from_the_environment_or_its_files(settings, tmp_path: Path) -> None:
    """A secret is a variable or a file that a variable names, as container platforms mount them."""
    (tmp_path / "key").write_text(KEY + "\n")
    read = settings(
        '[circles.asean]\nkey_env = "RF_ASEAN"',
        {"RINGFENCE_REDIS_PASSWORD": "hunter2", "RF_ASEAN_FILE": str(tmp_path / "key")},
    )
    assert read.secrets.redis_password == "hunter2"
    assert read.secrets.circle_keys == {"asean": bytes.fromhex(KEY)}


@pytest.mark.parametrize(
    ("environ", "error"),
    [
        ({}, "RF_ASEAN: is not set; it is the key of circles.asean"),
        (
            {"RF_ASEAN": "ab"},
            "RF_ASEAN: is not 64 hex digits (32 bytes); it is the key of circles.asean",
        ),
        (
            {"RF_ASEAN_FILE": "no/such"},
            "RF_ASEAN_FILE: no/such cannot be read: No such file or directory",
        ),
    ],
)
def test_a_missing_or_wrong_key_is_an_error(errors, environ: dict[str, str], error: str) -> None:
    """A circle without its key would match nothing: nothing is started."""
    assert f"environment: {error}" in errors('[circles.asean]\nkey_env = "RF_ASEAN"', environ)


def test_sasl_needs_user_and_password(errors) -> None:
    """Both are said together, and where the password belongs."""
    assert errors('[kafka]\nsecurity_protocol = "SASL_SSL"') == [
        "kafka.sasl_username: is needed for SASL_SSL",
        "environment: RINGFENCE_KAFKA_PASSWORD: is needed for SASL_SSL",
    ]


def test_no_secret_is_ever_shown(settings, errors) -> None:
    """Neither printing the settings nor an error message repeats a secret."""
    environ = {"RINGFENCE_REDIS_PASSWORD": "hunter2", "RF_ASEAN": KEY}
    read = settings('[circles.asean]\nkey_env = "RF_ASEAN"', environ)
    shown = repr(read) + repr(read.redacted())
    assert "hunter2" not in shown
    assert KEY not in shown
    assert "abab" not in shown
    assert read.redacted()["secrets"]["RF_ASEAN"] == "set"
    assert read.redacted()["secrets"]["RINGFENCE_KAFKA_PASSWORD"] == "not set"
    said = errors(f'[circles.x]\nkey_env = "{KEY}"\n[redis]\nurl = "redis://u:hunter2@h/0"')
    assert "hunter2" not in "".join(said)
    assert KEY not in "".join(said)


def test_files_of_tls_are_for_an_address_with_tls(errors, tmp_path: Path) -> None:
    """For redis:// they would protect nothing; a certificate needs its key."""
    (tmp_path / "ca.pem").write_text("")
    file = tmp_path / "ca.pem"
    wrong = "url: must begin with rediss://, as ca_file or cert_file is given"
    assert errors(f'[redis]\nca_file = "{file}"') == [f"redis.{wrong}"]
    text = f'[sinks.redis]\nca_file = "{file}"'
    assert errors(text) == [f"sinks.redis.{wrong}"]
    assert errors(f'[redis]\nurl = "rediss://127.0.0.1:1/0"\ncert_file = "{file}"') == [
        "redis.key_file: is missing: cert_file and key_file go together"
    ]


def test_a_folder_of_settings_that_may_not_be_looked_at(tmp_path, monkeypatch) -> None:
    """The defaults in its place would be other servers."""
    monkeypatch.setattr(common, "INSTALLED", tmp_path)
    (tmp_path / "ringfence.toml").write_text('kafka.client_id = "mine"')
    assert common.settings_of(None).kafka.client_id == "mine"
    forbidden(monkeypatch, tmp_path)
    wanted = f"{tmp_path}: cannot be read: Permission denied"
    for paths in (None, [tmp_path]):
        with pytest.raises(ConfigInvalid) as wrong:
            common.settings_of(paths)
        assert wrong.value.errors == (wanted,)


def test_files_of_tls_are_loaded_as_processes_load_them(settings, tmp_path: Path) -> None:
    """Each file of no use is named with its section; without files there is no error.

    The load itself does not read them: a command's user may not, as the service's may.
    """
    file = tmp_path / "bad.pem"
    file.write_text("no certificate")
    files = f'cert_file = "{file}"\nkey_file = "{file}"\n'
    read = settings(
        f"[kafka]\nsecurity_protocol = 'SSL'\nca_file = '{file}'\n"
        f"[redis]\nurl = 'rediss://127.0.0.1:1/0'\n{files}[serve]\n{files}[sip]\n{files}"
    )
    with pytest.raises(ConfigInvalid) as wrong:
        read.check_tls()
    named = [error.partition(": its files of TLS cannot")[0] for error in wrong.value.errors]
    assert named == ["kafka", "redis", "serve", "sip"]
    settings("").check_tls()


def test_sentinels_need_a_name_and_the_name_needs_them(errors, settings) -> None:
    """Each fault with its key; files of TLS are for the sentinels too; put_back follows them."""
    assert errors('[redis]\nsentinels = ["a:1", "b"]') == [
        'redis.sentinels.1: must be host:port, not "b"'
    ]
    assert errors('[redis]\nsentinels = ["a:1"]') == [
        "redis.sentinel_master: is needed beside sentinels: the name in `sentinel monitor`"
    ]
    assert errors('[sinks.redis]\nsentinel_master = "x"') == [
        "sinks.redis.sentinels: are needed beside sentinel_master: host:port of each"
    ]
    named = 'sentinels = ["a:1", "[::1]:2"]\nsentinel_master = "x"\n'
    assert errors(f'[redis]\nurl = "unix:///x"\n{named}') == [
        "redis.url: must begin with redis:// or rediss:// beside sentinels, which name its host"
    ]
    assert errors("[redis]\nwait_replicas = 1\nwait_ms = 2000") == [
        "redis.wait_ms: must be below timeout_s (2 s): the answer comes after it"
    ]
    read = settings(f"[redis]\n{named}", {"RINGFENCE_REDIS_SENTINEL_PASSWORD": "hunter2"})
    store = read.list_store()
    assert (store.sentinels, store.sentinel_master) == (("a:1", "[::1]:2"), "x")
    assert (store.put_back, store.sentinel_password) == (True, "hunter2")
    assert not settings("").list_store().put_back
    assert settings('[lists]\nput_back = "always"').list_store().put_back


def test_a_folder_that_is_closed_to_us_is_told(errors, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, as every other error: a state volume of another owner was a traceback."""

    def closed(_folder: Path) -> dict[str, bytes]:
        raise PermissionError(13, "Permission denied", "exchange/circles")

    monkeypatch.setattr("stream.config.settings.keys_in", closed)
    assert errors("") == [
        "exchange.circles_dir: exchange/circles cannot be read: Permission denied"
    ]


def test_a_deployment_is_its_servers(settings) -> None:
    """Spelling and password change nothing; another Redis database or broker is another one."""
    plain = settings("").deployment()
    same = settings('[redis]\nurl = "redis://127.0.0.1:6379/0"\n').deployment()
    assert plain == same
    others = {
        settings('[redis]\nurl = "redis://127.0.0.1:6379/1"\n').deployment(),
        settings('[kafka]\nbootstrap_servers = "127.0.0.1:9093"\n').deployment(),
    }
    assert len(others | {plain}) == 3
    assert all(target.deployment == plain for target in settings("").watched())
