"""Which servers are possible here, and what is said where one is not."""

from pathlib import Path

import pytest

from stream.lab.embedded import Unavailable, apache_kafka, redis_program


def program(folder: Path, name: str, says: str) -> None:
    """A program of that name that says one line on both outputs."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\necho '{says}' >&2\n")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no programs and no cache; the test puts some there."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("shutil.which", lambda name: _which(tmp_path, name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def _which(folder: Path, name: str) -> str | None:
    return str(folder / name) if (folder / name).exists() else None


def test_without_java_the_reason_names_the_command(machine: Path) -> None:
    """The engineer reads what to install."""
    with pytest.raises(Unavailable, match="no Java: apt-get install default-jre-headless maven"):
        apache_kafka.available()


def test_old_java_is_named(machine: Path) -> None:
    """Java 11 cannot run Kafka 4; the message says so rather than a stack trace."""
    program(machine, "java", 'openjdk version "11.0.2" 2019-01-15')
    with pytest.raises(Unavailable, match="Java 11 is too old, Kafka needs 17"):
        apache_kafka.available()


def test_java_without_maven_does_only_if_the_jars_are_there(machine: Path) -> None:
    """Once fetched, Kafka needs no Maven any more."""
    program(machine, "java", 'openjdk version "21.0.1" 2023-10-17')
    with pytest.raises(Unavailable, match="no Maven"):
        apache_kafka.available()
    libs = machine / f"cache/ringfence/kafka-{apache_kafka.VERSION}/libs"
    libs.mkdir(parents=True)
    for jar in apache_kafka.jar_names():
        (libs / jar).touch()
    assert apache_kafka.available() == libs


def test_a_failed_fetch_leaves_no_half_cache(machine: Path) -> None:
    """Maven's words are passed on, and the next try starts afresh."""
    program(machine, "java", 'openjdk version "21.0.1" 2023-10-17')
    program(machine, "mvn", "could not resolve")
    said: list[str] = []
    with pytest.raises(Unavailable, match="could not resolve"):
        apache_kafka.jars(said.append)
    assert said == [
        f"Fetching Apache Kafka {apache_kafka.VERSION} by Maven, once for this user ..."
    ]
    assert not list((machine / "cache/ringfence").glob("*/*"))


def test_without_redis_the_reason_names_the_command(machine: Path) -> None:
    """The engineer reads what to install."""
    with pytest.raises(Unavailable, match="no redis-server: apt-get install redis-server"):
        redis_program.redis_program()


@pytest.mark.parametrize(
    ("says", "title"),
    [
        ("Redis server v=7.0.15 sha=0", "Redis 7.0.15"),
        ("Redis server v=10.1.0 sha=0", "Redis 10.1.0"),
    ],
)
def test_a_good_redis_says_its_version(machine: Path, says: str, title: str) -> None:
    """The version is the program's own word."""
    program(machine, "redis-server", says)
    assert redis_program.redis_program() == (str(machine / "redis-server"), title)


@pytest.mark.parametrize("says", ["Redis server v=5.0.3 sha=0", "something else"])
def test_a_redis_that_is_old_or_none_is_not_used(machine: Path, says: str) -> None:
    """Too old, or no Redis at all: the reason says which."""
    program(machine, "redis-server", says)
    with pytest.raises(Unavailable, match=r"too old|something else"):
        redis_program.redis_program()
