"""A real API server takes each object of the chart, where Pod Security is enforced."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.chart import EVERYTHING, NAMESPACE, of_kind, rendered
from tests.support.kubernetes import ApiServer, Refused, api_server

pytestmark = [
    pytest.mark.needs_helm,
    pytest.mark.needs_kubernetes,
    pytest.mark.needs_etcd,
    pytest.mark.needs_openssl,
    pytest.mark.campaign,
]
RESTRICTED = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")
}


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    """A server with a namespace that takes nothing but restricted pods."""
    with api_server() as made:
        named = {"name": NAMESPACE, "labels": RESTRICTED}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": named}
        made.takes(namespace, NAMESPACE, dry=False)
        yield made


CHARTS = {
    "defaults": (),
    "everything": ("--values", str(EVERYTHING)),
    "everything by Kafka's own certificates": (
        *("--values", str(EVERYTHING)),
        *("--set", "strimzi.authentication=tls,config.kafka.security_protocol=SSL"),
        *("--set", "strimzi.topics=false"),
    ),
}


@pytest.mark.parametrize("words", CHARTS.values(), ids=CHARTS.keys())
def test_the_api_server_takes_each_object(api: ApiServer, words: tuple[str, ...]) -> None:
    """No field is unknown, none is impossible, and no warning is given."""
    things = rendered(*words)
    known = [one for one in things if api.knows(one)]
    assert len(known) >= 7
    for one in known:
        warnings = api.takes(one, NAMESPACE)
        assert not warnings, (one["kind"], one["metadata"]["name"], warnings)


def test_the_operators_kinds_are_taken(api: ApiServer) -> None:
    """Strimzi's, KEDA's and the Prometheus operator's, where RINGFENCE_CRDS has them."""
    things = rendered("--values", str(EVERYTHING))
    own = [one for one in things if "." in one["apiVersion"].partition("/")[0]]
    foreign = [one for one in own if "k8s.io" not in one["apiVersion"]]
    assert {one["kind"] for one in foreign} == {
        *("KafkaTopic", "KafkaUser", "ScaledObject", "TriggerAuthentication"),
        *("ServiceMonitor", "PrometheusRule"),
    }
    if not any(map(api.knows, foreign)):
        pytest.skip("RINGFENCE_CRDS names no folder with the operators' definitions")
    for one in foreign:
        assert not api.takes(one, NAMESPACE)


def pods_of(things: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A pod of each StatefulSet and Job, as its controller would make it."""
    makers = {**of_kind(things, "StatefulSet"), **of_kind(things, "Job")}
    for name, maker in makers.items():
        made = maker["spec"]["template"]
        claims = [
            {"name": one["metadata"]["name"], "persistentVolumeClaim": {"claimName": name}}
            for one in maker["spec"].get("volumeClaimTemplates", ())
        ]
        spec = {**made["spec"], "volumes": [*made["spec"]["volumes"], *claims]}
        metadata = {**made["metadata"], "name": name}
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("words", CHARTS.values(), ids=CHARTS.keys())
def test_each_pod_is_restricted(api: ApiServer, words: tuple[str, ...]) -> None:
    """Pod Security "restricted" lets in every pod; one with a right more is refused."""
    for pod in pods_of(rendered(*words)):
        assert not api.takes(pod, NAMESPACE)
        security = pod["spec"]["containers"][0]["securityContext"]
        security["capabilities"] = {"drop": ["ALL"], "add": ["NET_ADMIN"]}
        with pytest.raises(Refused, match="restricted"):
            api.takes(pod, NAMESPACE)


def test_an_upgrade_is_accepted(api: ApiServer) -> None:
    """Other settings, another image, more pods and another service change nothing that is fixed.
    The size of a volume is: the page says what to do.
    """
    words = ("--values", str(EVERYTHING), "--set", "strimzi.topics=false,sip.enabled=false")
    more = ("--set", "image.tag=next,config.calls.batch_wait_ms=40,http.replicas=3")
    for release in (words, (*words, *more), (*words, *more, "--set", "sip.enabled=true"), words):
        for one in rendered(*release):
            if api.knows(one):
                api.applies(one, NAMESPACE)
    larger = of_kind(rendered(*words, "--set", "worker.persistence.size=20Gi"), "StatefulSet")
    with pytest.raises(Refused, match="updates to statefulset spec"):
        api.applies(larger["rf-ringfence-worker"], NAMESPACE)
