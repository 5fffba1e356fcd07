"""The catalogue as a page, and the figures that no unit of their own moves."""

import time
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from stream.core.model.errors import ConfigInvalid
from stream.ops.metrics.catalogue import DECLARED
from stream.ops.metrics.exposition import MetricsPages, exposition
from stream.ops.metrics.shared_catalogue import CertificateMetrics, RedisMetrics
from stream.ops.metrics.sink_catalogue import SinkMetrics
from stream.ops.metrics.worker_catalogue import AgeHistogram, WorkerCatalogue
from tests.support.certificates import HOST, authority, expired, signed
from tests.support.metrics import entries
from tests.tools.write_metrics import TABLE, renewed

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def test_the_table_says_what_the_catalogue_says() -> None:
    """A change of a metric needs `make docs-metrics`."""
    text = TABLE.read_text()
    assert text == renewed(text), "run `make docs-metrics`"
    assert all(f"| `{entry.name}` |" in text for entry in entries())


def test_every_metric_is_made_once() -> None:
    """One name, one meaning, in one catalogue; and none in metrics.toml that no process has."""
    names = [entry.name.removesuffix("_total") for entry in entries()]
    assert sorted(names) == sorted(DECLARED)


async def test_a_slow_batch_names_a_decision_of_its_own() -> None:
    """From the dashboard's point to the decision: `ringfence why` goes on from there."""
    registry = CollectorRegistry()
    latency = WorkerCatalogue(registry).decision_latency
    latency.observe_ages(np.array([3, 41]), "4F7K2M9QX1RZC")
    text = (await MetricsPages(registry).page(OPENMETRICS)).body.decode()
    (line,) = [line for line in text.splitlines() if "4F7K2M9QX1RZC" in line]
    bucket = 'ringfence_decision_latency_seconds_bucket{le="0.05"} 2.0 # '
    assert line.startswith(bucket + '{decision_id="4F7K2M9QX1RZC"} 0.041 ')
    assert "4F7K2M9QX1RZC" not in exposition(registry).decode()


async def test_a_batch_without_decisions_names_none() -> None:
    """Nothing was blocked: nothing is made up."""
    registry = CollectorRegistry()
    AgeHistogram("ages_seconds", "Ages.", registry).observe_ages(np.array([3, 41]))
    assert "decision_id" not in (await MetricsPages(registry).page(OPENMETRICS)).body.decode()


@pytest.mark.needs_openssl
def test_a_certificate_says_when_it_expires(tmp_path: Path) -> None:
    """In seconds since the epoch, by its use; a renewed file counts, half a file does not."""
    authority(tmp_path)
    signed(tmp_path, "renewed", HOST)
    expired(tmp_path, "old", HOST)
    used = tmp_path / "used.pem"
    used.write_bytes((tmp_path / "old.pem").read_bytes())
    registry = CollectorRegistry()
    CertificateMetrics(registry, {"http": str(used)})

    def left_s() -> float:
        name = "ringfence_certificate_expires_timestamp_seconds"
        return (registry.get_sample_value(name, {"of": "http"}) or 0) - time.time()

    assert left_s() < 0
    renewed = (tmp_path / "renewed.pem").read_bytes()
    used.write_bytes(renewed)
    assert 86_400 < left_s() <= 2 * 86_400
    used.write_bytes(renewed[: len(renewed) // 2])
    assert 86_400 < left_s() <= 2 * 86_400


@pytest.mark.parametrize("text", [None, "", "no certificate"])
def test_a_certificate_of_no_use_is_a_wrong_setting(tmp_path: Path, text: str | None) -> None:
    """Exit code 2, which systemd does not restart, and no traceback."""
    file = tmp_path / "bad.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigInvalid, match=r"bad\.pem: no certificate can be read from it: "):
        CertificateMetrics(CollectorRegistry(), {"redis": str(file)})


def test_a_partition_that_went_to_another_sink_is_not_behind() -> None:
    """Its last lag here, added to the other's, would look like a sink that stands still."""
    registry = CollectorRegistry()
    metrics = SinkMetrics(registry)
    metrics.show_lags("crm", {0: 5000, 1: 7000})
    metrics.show_lags("soc", {1: 9})
    metrics.show_lags("crm", {0: 3})
    lags = {
        (sink, number): registry.get_sample_value(
            "ringfence_sink_lag_records", {"sink": sink, "partition": str(number)}
        )
        for sink, number in (("crm", 0), ("crm", 1), ("soc", 1))
    }
    assert lags == {("crm", 0): 3, ("crm", 1): 0, ("soc", 1): 9}


def test_keys_that_redis_threw_away_are_counted() -> None:
    """Since we look, over a restart of Redis too; a server with a poorer INFO does no harm."""
    registry = CollectorRegistry()
    metrics = RedisMetrics(registry, "register")
    for told in (70, 75, 2, 2):
        metrics.told({"used_memory": 1000, "maxmemory": 4000, "evicted_keys": told})
    labels = {"redis": "register"}
    assert registry.get_sample_value("ringfence_redis_evicted_keys_total", labels) == 7
    assert registry.get_sample_value("ringfence_redis_memory_max_bytes", labels) == 4000
    metrics.told({})
    assert registry.get_sample_value("ringfence_redis_memory_bytes", labels) == 0
