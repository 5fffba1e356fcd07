"""The Helm chart: its table of services, and what Helm renders of it."""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stream.config.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "ringfence"
EVERYTHING = ROOT / "tests" / "golden" / "chart" / "everything.yaml"
"""Values with every service and every object on."""
NAMESPACE = "carrier"
# Helm that Go built believes that it talks to Kubernetes 1.20.
_KUBERNETES = ("--kube-version", "1.36", "--namespace", NAMESPACE)
# Of a chart in a checkout: its rules are links to those of deploy/prometheus.
_LINKED = re.compile(r"^walk\.go:\d+: found symbolic link.*\n?", re.MULTILINE)
Thing = Mapping[str, Any]


def services() -> dict[str, dict[str, Any]]:
    """The table of files/services.yaml: each service with its command, port, job and rights."""
    read: dict[str, dict[str, Any]] = yaml.safe_load((CHART / "files/services.yaml").read_text())
    return read


def helm(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout, and stderr without the notes on links."""
    done = subprocess.run(["helm", *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, _LINKED.sub("", done.stderr)


def template(*words: str, chart: Path = CHART) -> tuple[int, str, str]:
    """`helm template` of a release `rf`."""
    return helm("template", "rf", str(chart), *_KUBERNETES, *words)


def rendered(*words: str, chart: Path = CHART) -> list[dict[str, Any]]:
    """Each object that Helm renders with the values that `words` give."""
    code, out, said = template(*words, chart=chart)
    assert code == 0, said
    return [one for one in yaml.load_all(out, yaml.CSafeLoader) if one]


def of_kind(things: Sequence[Thing], kind: str) -> dict[str, Any]:
    """Objects of a kind by name."""
    return {one["metadata"]["name"]: one for one in things if one["kind"] == kind}


def pods(things: Sequence[Thing]) -> dict[str, Any]:
    """Templates of pods, by the name of what makes them."""
    makers = of_kind(things, "StatefulSet") | of_kind(things, "Job")
    return {name: one["spec"]["template"] for name, one in makers.items()}


def containers(things: Sequence[Thing]) -> Iterator[tuple[str, Any, Any]]:
    """Each service of ours, with the spec of its pod and its container."""
    for pod in pods(things).values():
        for container in pod["spec"]["containers"]:
            if container["name"] in services():
                yield container["name"], pod["spec"], container


class Right(NamedTuple):
    """A right in Kafka: operations on one topic, group or id, or on all whose names begin so."""

    of: str
    name: str
    prefix: bool
    may: tuple[str, ...]


def rights(service: str, settings: Settings, feeds: Sequence[str] = ()) -> list[Right]:
    """The rights of a service in the table, by these settings; `feeds` are topics of feeds."""
    calls, sinks = settings.calls, settings.sinks
    names = {
        "{calls}": tuple(calls.topics),
        "{decisions}": (calls.decisions_topic,),
        "{rejected}": (calls.rejected_topic,),
        "{feeds}": tuple(feeds),
        "{undelivered}": (sinks.webhooks.undelivered_topic,),
        "{redis group}": (sinks.redis.group_id or f"{calls.group_id}.redis",),
    }
    found = []
    for one in services()[service]["kafka"]:
        known = names.get(one["name"], (one["name"].replace("{group}", calls.group_id),))
        found += [
            Right(one["of"], name.removesuffix("*"), name.endswith("*"), tuple(one["may"]))
            for name in known
        ]
    return found
