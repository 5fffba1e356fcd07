"""The chart as Helm renders it: pods that our settings take, rights, scaling, and refusals."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.config.settings import Settings, load
from tests.support.chart import (
    CHART,
    EVERYTHING,
    NAMESPACE,
    ROOT,
    containers,
    helm,
    of_kind,
    pods,
    rendered,
    services,
    template,
)
from tests.support.promql import RULE_FILES, RULES

pytestmark = [pytest.mark.needs_helm, pytest.mark.campaign]
SASL = ("--set", "config.kafka.security_protocol=SASL_SSL,config.kafka.sasl_username=ringfence")
PASSWORD = ("--set", "secrets.RINGFENCE_KAFKA_PASSWORD.name=kafka")
CONTENTS = {"RINGFENCE_KAFKA_PASSWORD": "a pass phrase", "RINGFENCE_CIRCLE_ASEAN": "00" * 32}
"""Of the files that have to hold something."""


@pytest.fixture(scope="module")
def everything() -> list[dict[str, Any]]:
    """The chart with all that it has."""
    return rendered("--values", str(EVERYTHING))


def environment(container: Any, folder: Path) -> dict[str, str]:
    """A container's variables as the kubelet would set them, with files of secrets in `folder`."""
    found = {"POD_NAME": "pod-0", "POD_NAMESPACE": "carrier"}
    for one in container["env"]:
        if "value" in one:
            found[one["name"]] = (
                str(one["value"])
                .replace("$(POD_NAME)", found["POD_NAME"])
                .replace("$(POD_NAMESPACE)", found["POD_NAMESPACE"])
            )
    for name, value in found.items():
        if value.startswith("/run/ringfence/"):
            variable = name.removesuffix("_FILE")
            is_secret = value.endswith(f"/secrets/{variable}")
            assert is_secret or "/certificates/" in value or "/aws/" in value
            found[name] = str(folder / variable)
            (folder / variable).write_text(CONTENTS.get(variable, ""))
    return found


def settings_of(things: list[dict[str, Any]], container: Any, folder: Path) -> Settings:
    """The settings that the container starts with; an invalid one is an error."""
    held = of_kind(things, "ConfigMap")["rf-ringfence-settings"]["data"]
    (folder / "ringfence.toml").write_text(held["ringfence.toml"])
    return load([folder / "ringfence.toml"], environment(container, folder))


def test_helm_accepts_the_chart(tmp_path: Path) -> None:
    """Lint has nothing to say, and a package renders as the folder does."""
    code, out, said = helm("lint", "--strict", str(CHART))
    assert code == 0, out + said
    assert helm("package", str(CHART), "--destination", str(tmp_path))[0] == 0
    (package,) = tmp_path.iterdir()
    words = ("--values", str(EVERYTHING))
    assert rendered(*words, chart=package) == rendered(*words)


def test_each_container_starts_with_valid_settings(
    everything: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Our own loader takes the file and the variables of each, and its port is where probes ask."""
    seen = set()
    for name, pod, container in containers(everything):
        settings = settings_of(everything, container, tmp_path)
        about = services()[name]
        assert settings.calls.partitions == 24
        assert settings.calls.topics == {"calls": "ringfence", "calls.Kamailio_acc": "kamailio"}
        assert settings.ops.http_host == "0.0.0.0"
        assert pod["terminationGracePeriodSeconds"] > settings.ops.shutdown_s + 10
        asked = {container[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "liveness")}
        assert asked == {about["port"]}
        assert about["port"] in {one["containerPort"] for one in container["ports"]}
        if "kafka" in about["uses"]:
            assert settings.kafka.sasl_username == f"rf-ringfence-{name}"
            assert settings.calls.instance_id == "pnh.carrier.pod-0"
        else:
            assert settings.kafka.security_protocol == "PLAINTEXT"
        seen.add(name)
    assert seen == services().keys() - {"topics"}


def test_the_topics_job_has_its_settings(tmp_path: Path) -> None:
    """`topics create` gets the password, and a change of settings makes another Job."""
    first = rendered(*SASL, *PASSWORD)
    ((_, pod, container),) = (one for one in containers(first) if one[0] == "topics")
    assert settings_of(first, container, tmp_path).secrets.kafka_password == "a pass phrase"
    assert pod["restartPolicy"] == "OnFailure"
    again = rendered(*SASL, *PASSWORD)
    other = rendered(*SASL, *PASSWORD, "--set", "config.calls.partitions=13")
    assert of_kind(first, "Job").keys() == of_kind(again, "Job").keys()
    assert of_kind(first, "Job").keys() != of_kind(other, "Job").keys()


def test_each_file_that_a_variable_names_is_mounted(everything: list[dict[str, Any]]) -> None:
    """Secrets and certificates lie where the variables say, and in no other container."""
    for _, pod, container in containers(everything):
        volumes = {one["name"]: one for one in pod["volumes"]}
        held = set()
        for mount in container["volumeMounts"]:
            sources = volumes.get(mount["name"], {}).get("projected", {}).get("sources", ())
            for source in sources:
                held |= {f"/run/ringfence/{item['path']}" for item in source["secret"]["items"]}
        named = {
            one["value"]
            for one in container["env"]
            if str(one.get("value", "")).startswith("/run/ringfence/")
        }
        files = {"/run/ringfence/keys/th_key"} if container["name"] == "feeds" else set()
        assert named | files == held


def test_records_come_from_a_server_without_a_volume(tmp_path: Path) -> None:
    """With ingest.url the command has it, the key is mounted, and the network lets it out."""
    url = "sftp://ringfence@sbc.example/cdr/"
    given = f"ingest.enabled=true,ingest.dialect=ringfence,ingest.url={url}"
    key = "certificates.sftp.secret=sbc-key,certificates.sftp.key=id_ed25519"
    host = "config.ingest.sftp.host_keys[0]=SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8"
    things = rendered("--set", given, "--set", key, "--set", host)
    (container,) = (one for name, _, one in containers(things) if name == "ingest")
    assert container["args"][-1] == url
    assert "records" not in {mount["name"] for mount in container["volumeMounts"]}
    settings = settings_of(things, container, tmp_path)
    assert settings.ingest.sftp.key_file.endswith("RINGFENCE_INGEST__SFTP__KEY")
    policy = of_kind(things, "NetworkPolicy")["rf-ringfence-ingest"]
    assert {} in policy["spec"]["egress"]


def test_no_two_pods_share_an_instance_id(everything: list[dict[str, Any]]) -> None:
    """Every pod is one of a StatefulSet, and its id is made of its namespace and its name."""
    assert not of_kind(everything, "Deployment")
    for _, _, container in containers(everything):
        for one in container["env"]:
            if one["name"] == "RINGFENCE_CALLS__INSTANCE_ID":
                assert one["value"] == "pnh.$(POD_NAMESPACE).$(POD_NAME)"
    (_, _, without), *_ = containers(rendered("--set", "worker.instanceIds=false"))
    assert "RINGFENCE_CALLS__INSTANCE_ID" not in {one["name"] for one in without["env"]}
    for alone in ("feeds", "exchange", "ingest"):
        assert of_kind(everything, "StatefulSet")[f"rf-ringfence-{alone}"]["spec"]["replicas"] == 1
        assert f"rf-ringfence-{alone}" not in of_kind(everything, "PodDisruptionBudget")


def test_a_pod_that_keda_takes_away_leaves_its_group(everything: list[dict[str, Any]]) -> None:
    """Its partitions do not wait for its session to end; without KEDA a stop is a restart."""

    def leaving(objects: list[dict[str, Any]]) -> dict[str, str]:
        named = "RINGFENCE_CALLS__LEAVE_ON_STOP"
        return {
            container["name"]: one["value"]
            for _, _, container in containers(objects)
            for one in container["env"]
            if one["name"] == named
        }

    assert leaving(everything) == {"worker": "true"}
    assert leaving(rendered()) == {}


def test_workers_never_outnumber_partitions(everything: list[dict[str, Any]]) -> None:
    """KEDA stops where each partition has a process; without KEDA too many are refused."""
    scaled = of_kind(everything, "ScaledObject")["rf-ringfence-worker"]["spec"]
    assert scaled["maxReplicaCount"] == 2 * 24 // 2  # topics, partitions, processes
    assert {one["metadata"]["topic"] for one in scaled["triggers"]} == {
        "calls",
        "calls.Kamailio_acc",
    }
    # A number there would undo KEDA's at each upgrade.
    assert "replicas" not in of_kind(everything, "StatefulSet")["rf-ringfence-worker"]["spec"]


def test_strimzi_grants_what_the_table_says(everything: list[dict[str, Any]]) -> None:
    """A user for each service that talks to Kafka, with its rights; topics as they are made."""
    users = of_kind(everything, "KafkaUser")
    wanted = {name for name, one in services().items() if "kafka" in one} - {"topics"}
    assert users.keys() == {f"rf-ringfence-{name}" for name in wanted}
    acls = users["rf-ringfence-sink-webhooks"]["spec"]["authorization"]["acls"]
    assert {"type": "group", "name": "ringfence.webhook.", "patternType": "prefix"} in [
        one["resource"] for one in acls
    ]
    assert not [one for one in acls if one["resource"]["name"] in ("", "*")]
    topics = {
        one["spec"]["topicName"]: one["spec"] for one in of_kind(everything, "KafkaTopic").values()
    }
    assert topics.keys() == {
        *("calls", "calls.Kamailio_acc", "calls.rejected", "decisions", "decisions.undelivered")
    }
    assert all((one["partitions"], one["replicas"]) == (24, 3) for one in topics.values())


def test_prometheus_knows_each_service(everything: list[dict[str, Any]]) -> None:
    """A monitor for each service, with the job that the alerts name; all alerts of ours."""
    found = {}
    headless = of_kind(everything, "Service")
    for name, monitor in of_kind(everything, "ServiceMonitor").items():
        (endpoint,) = monitor["spec"]["endpoints"]
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = (
            one for one in headless.values() if labels <= one["metadata"]["labels"].items()
        )
        ports = {one["name"]: one["port"] for one in service["spec"]["ports"]}
        (relabeling,) = endpoint["relabelings"]
        found[name.removeprefix("rf-ringfence-")] = (
            relabeling["replacement"],
            ports[endpoint["port"]],
        )
    table = services()
    assert found == {
        name: (one["job"], one["port"]) for name, one in table.items() if "port" in one
    }
    (rule,) = of_kind(everything, "PrometheusRule").values()
    ours = [
        group
        for name in RULE_FILES
        for group in yaml.safe_load(
            (RULES / name)
            .read_text()
            .replace("deploy/RUNBOOK.md", "https://runbook.example/ringfence")
        )["groups"]
    ]
    *groups, gone = rule["spec"]["groups"]
    assert groups == ours
    assert {one["expr"].partition(",")[0] for one in gone["rules"]} == {
        f'absent(up{{job="{one["job"]}"' for one in table.values() if "port" in one
    }


@pytest.mark.needs_promtool
@pytest.mark.parametrize(
    ("alert", "gone"),
    [("EngineDown", "worker"), ("IntakeDown", "sip"), ("ProcessDown", "sink-redis")],
)
def test_a_service_without_a_pod_is_an_alert(
    everything: list[dict[str, Any]], tmp_path: Path, alert: str, gone: str
) -> None:
    """A pod that cannot be scheduled is no target at all, so no `up` of it is 0."""
    (rule,) = of_kind(everything, "PrometheusRule").values()
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule["spec"]))
    jobs = {name: one["job"] for name, one in services().items() if "port" in one}
    series = [
        {
            "series": f'up{{job="{job}", namespace="{NAMESPACE}", instance="{name}", service='
            f'"rf-ringfence-{"exchange" if name == "enforcement" else name}-pods"}}',
            "values": "1x10 _x60" if name == gone else "1x70",
        }
        for name, job in jobs.items()
    ]
    fires = 'count by (alertname, severity) (ALERTS{alertstate="firing", alertname=~".*Down"})'
    severity = "ticket" if alert == "ProcessDown" else "page"
    labels = f'{{alertname="{alert}", severity="{severity}"}}'
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump(
            {
                "rule_files": ["rules.yml"],
                "evaluation_interval": "15s",
                "tests": [
                    {
                        "interval": "15s",
                        "input_series": series,
                        "promql_expr_test": [
                            {"expr": fires, "eval_time": "2m", "exp_samples": []},
                            {
                                "expr": fires,
                                "eval_time": "16m",
                                "exp_samples": [{"labels": labels, "value": 1}],
                            },
                        ],
                    }
                ],
            }
        )
    )
    done = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "test.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_can_be_turned_off() -> None:
    """Also where it says that no pod is there; a name that is no alert is refused."""
    on = "--set=monitoring.prometheusRule=true,monitoring.serviceMonitor=true"

    def alerts_with(*off: str) -> set[str]:
        things = rendered(on, f"--set-json=monitoring.alertsOff={json.dumps(off)}")
        (rule,) = of_kind(things, "PrometheusRule").values()
        return {
            one["alert"]
            for group in rule["spec"]["groups"]
            for one in group["rules"] or ()
            if "alert" in one
        }

    everything = alerts_with()
    assert {"CallsStopped", "EngineDown"} < everything
    assert alerts_with("CallsStopped", "EngineDown") == everything - {"CallsStopped", "EngineDown"}
    code, _, said = template(on, "--set=monitoring.alertsOff={CallStopped}")
    assert code != 0
    assert 'monitoring.alertsOff: "CallStopped" is no alert' in said


def test_pods_are_restricted(everything: list[dict[str, Any]]) -> None:
    """User 10001, a read-only root, no capability, the runtime's seccomp profile, no token."""
    everything = [*everything, *rendered()]
    assert len(pods(everything)) > 8
    for pod in pods(everything).values():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        held = spec["securityContext"]
        assert (held["runAsNonRoot"], held["runAsUser"]) == (True, 10001)
        assert held["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_the_network_is_closed_but_for_what_is_used(everything: list[dict[str, Any]]) -> None:
    """Each pod has a policy; who does not talk to Kafka cannot; only the scraper reads figures."""
    policies = of_kind(everything, "NetworkPolicy")
    assert policies.keys() == pods(everything).keys()
    sip = policies["rf-ringfence-sip"]["spec"]
    ports = {port["port"] for rule in sip["egress"] for port in rule["ports"]}
    assert ports == {53, 6380, 6381}
    health, switches = sip["ingress"]
    assert health["from"][-1] == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    }
    assert {one["protocol"] for one in switches["ports"]} == {"UDP", "TCP"}


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("redis://redis/0", 6379),
        ("redis://redis:6381?protocol=3", 6381),
        ("redis://[fd00::1]", 6379),
    ],
)
def test_the_list_store_is_reached_beside_the_proxies_redis(url: str, port: int) -> None:
    """An address without a port has the usual one, also where the other Redis names its own."""
    things = rendered(
        *("--set-string", f"config.redis.url={url}"),
        *("--set", "config.sinks.redis.url=redis://proxies:6380/0"),
    )
    policy = of_kind(things, "NetworkPolicy")["rf-ringfence-worker"]["spec"]
    ports = {one["port"] for rule in policy["egress"] for one in rule["ports"]}
    assert ports == {53, 9092, 6380, port}


def test_sentinels_and_the_redis_behind_them_are_reached() -> None:
    """The ports of both are open, and a password of the sentinels is mounted."""
    things = rendered(
        *("--set", "config.redis.url=redis:///0,config.redis.sentinel_master=ringfence"),
        *("--set", "config.redis.sentinels={a.redis:26379,b.redis:26379}"),
        *("--set", "secrets.RINGFENCE_REDIS_SENTINEL_PASSWORD.name=sentinels"),
    )
    policy = of_kind(things, "NetworkPolicy")["rf-ringfence-worker"]["spec"]
    assert {one["port"] for rule in policy["egress"] for one in rule["ports"]} == {
        *(53, 9092, 6379, 26379)
    }
    ((_, _, worker),) = (one for one in containers(things) if one[0] == "worker")
    assert "RINGFENCE_REDIS_SENTINEL_PASSWORD_FILE" in {one["name"] for one in worker["env"]}


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://registry.example:8081/apis/ccompat/v7", 8081),
        ("https://registry.example", 443),
        ("http://registry.example/v7:9", 80),
    ],
)
def test_workers_reach_the_schema_registry(url: str, port: int) -> None:
    """At the port of its address, and no other pods do: they ask for no schema."""
    peer = "networkPolicy.schemaRegistryTo[0].ipBlock.cidr=192.0.2.7/32"
    things = rendered(
        *("--set", f"config.schema_registry.url={url}", "--set", peer),
        *("--set", "http.enabled=true,secrets.RINGFENCE_HTTP_TOKENS.name=tokens"),
    )
    policies = of_kind(things, "NetworkPolicy")
    ends = [{"ipBlock": {"cidr": "192.0.2.7/32"}}]
    rule = {"ports": [{"port": port, "protocol": "TCP"}], "to": ends}
    reached = [name for name, one in policies.items() if rule in one["spec"]["egress"]]
    assert reached == ["rf-ringfence-worker"]


@pytest.mark.needs_nginx
def test_nginx_takes_the_repositorys_server(
    everything: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Of deploy/, without TLS, which an Ingress has; the container sees the repository alone."""
    (text,) = of_kind(everything, "ConfigMap")["rf-ringfence-web"]["data"].values()
    assert "ssl" not in text
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; events {{ }} http {{ access_log off;\n{text}\n}}"
    )
    words = ["nginx", "-t", "-q", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    exchange = pods(everything)["rf-ringfence-exchange"]["spec"]
    (web,) = (one for one in exchange["containers"] if one["name"] == "web")
    (state,) = (one for one in web["volumeMounts"] if one["name"] == "state")
    assert (state["subPath"], state["readOnly"]) == ("exchange/repository", True)


def test_partners_reach_the_repository_while_kafka_is_away(
    everything: list[dict[str, Any]],
) -> None:
    """`exchange run` and `enforcement run` are not ready then, and they are in nginx' pod."""
    exchange = pods(everything)["rf-ringfence-exchange"]["spec"]
    assert {one["name"] for one in exchange["containers"]} == {"exchange", "enforcement", "web"}
    service = of_kind(everything, "Service")["rf-ringfence-exchange"]
    assert service["spec"]["publishNotReadyAddresses"] is True


def test_toml_of_any_setting_is_what_was_given(tmp_path: Path) -> None:
    """Integers stay integers, and quotes, tables and lists survive the way through Helm."""
    config = {
        "kafka": {"bootstrap_servers": "kafka:9092", "oauth_extensions": {"logicalCluster": 'a"b'}},
        "redis": {"url": "redis://redis:6379/0"},
        "serve": {"body_bytes_max": 16777216, "idle_s_max": 75.5},
        "policy": {"emergency": {"TH": ["1669"]}, "lists": {"KH/scam <&>": {"simulate": True}}},
        "sinks": {"redis": {"keys_max": 100000000}},
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"config": config}))
    things = rendered("--values", str(tmp_path / "values.yaml"))
    held = of_kind(things, "ConfigMap")["rf-ringfence-settings"]["data"]["ringfence.toml"]
    assert tomllib.loads(held) == config


def test_the_values_of_the_how_to_work(tmp_path: Path) -> None:
    """The page's values render as it says: the first, then ingest and autoscaling over them."""
    page = (ROOT / "docs/how-to/operate/kubernetes.md").read_text()
    words: list[str] = []
    for place, block in enumerate(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[:3]):
        (tmp_path / f"{place}.yaml").write_text(block)
        words += ["--values", str(tmp_path / f"{place}.yaml")]
    things = rendered(*words)
    names = {f"rf-ringfence-{service}" for service in ("worker", "http", "ingest")}
    assert of_kind(things, "StatefulSet").keys() == names
    assert of_kind(things, "ScaledObject")["rf-ringfence-worker"]["spec"]["maxReplicaCount"] == 48


REFUSED = [
    ("a misspelt setting", ["config.calls.partitons=3"], ["/config/calls", "partitons"]),
    ("a setting of another type", ["config.calls.partitions=many"], ["/config/calls/partitions"]),
    ("a setting beyond its limit", ["config.calls.partitions=0"], ["/config/calls/partitions"]),
    ("a misspelt value", ["worker.replica=3"], ["/worker", "replica"]),
    ("an impossible value", ["image.pullPolicy=Sometimes"], ["/image/pullPolicy", "'Never'"]),
    ("a size that is none", ["worker.persistence.size=10"], ["/worker/persistence/size"]),
    ("more pods than partitions", ["worker.replicas=13"], ["worker.replicas: 13", "12 partitions"]),
    (
        "a limit of scaling above the partitions",
        ["worker.autoscaling.enabled=true,worker.autoscaling.max=13"],
        ["worker.autoscaling.max: 13"],
    ),
    (
        "scaling by brokers that want IAM",
        ["worker.autoscaling.enabled=true,config.kafka.oauth_aws_region=eu-west-1"],
        ["worker.autoscaling.enabled: KEDA would ask brokers"],
    ),
    (
        "a password that nobody names",
        ["config.kafka.security_protocol=SASL_SSL,config.kafka.sasl_username=a"],
        ["secrets.RINGFENCE_KAFKA_PASSWORD.name is missing", "worker needs it"],
    ),
    ("no tokens", ["http.enabled=true"], ["secrets.RINGFENCE_HTTP_TOKENS.name is missing"]),
    (
        "a circle without its key",
        ["config.circles.asean.key_env=RINGFENCE_CIRCLE_ASEAN"],
        ["secrets.RINGFENCE_CIRCLE_ASEAN.name is missing", "circle"],
    ),
    (
        "a webhook without its secret",
        [
            "sink-webhooks.enabled=true",
            "config.sinks.webhooks.endpoints.crm.url=https://crm.example",
            "config.sinks.webhooks.endpoints.crm.secret_env=RINGFENCE_CRM",
        ],
        ["secrets.RINGFENCE_CRM.name is missing"],
    ),
    (
        "a secret that nothing takes",
        ["secrets.RINGFENCE_REDIS_PASWORD.name=a"],
        ["secrets.RINGFENCE_REDIS_PASWORD: no service", "is the name right?"],
    ),
    ("an instance id", ["config.calls.instance_id=a"], ["config.calls.instance_id", "pod's name"]),
    ("a folder of the chart's", ["config.lists.state_dir=a"], ["config.lists.state_dir"]),
    (
        "no broker",
        ["config.kafka.bootstrap_servers="],
        ["config.kafka.bootstrap_servers is missing"],
    ),
    ("Strimzi without a cluster", ["strimzi.topics=true"], ["strimzi.cluster is missing"]),
    (
        "Strimzi's users on a broker without names",
        ["strimzi.users=true,strimzi.cluster=a"],
        ["config.kafka.security_protocol", "needs SASL_SSL"],
    ),
    ("feeds without a file", ["feeds.enabled=true"], ["feeds.files is empty"]),
    ("a file of records of no volume", ["ingest.enabled=true"], ["ingest.claim is missing"]),
    ("a name that leaves no room", ["fullnameOverride=" + "a" * 39], ["fullnameOverride", "38"]),
]


@pytest.mark.parametrize(
    ("given", "said"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
def test_what_cannot_work_is_refused_by_its_name(given: list[str], said: list[str]) -> None:
    """Nothing is rendered, and the error names the value and what to do."""
    code, _, error = template(*(word for one in given for word in ("--set", one)))
    assert code != 0
    for words in said:
        assert words in error
