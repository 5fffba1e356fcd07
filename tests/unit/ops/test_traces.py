"""Traces: nothing where they are off, and a word that helps where they cannot be on."""

import sys

import pytest

from stream.calls.tracing import traced
from stream.core.model.errors import ConfigInvalid
from stream.ops.traces import OFF, traces_to


def test_off_is_nothing_at_all():
    """Without a collector in the settings the loop's steps are what they were."""
    steps = (lambda raw: raw, lambda batch: batch, lambda _: None)
    assert traces_to("", 1.0, "test") is OFF
    assert traced(OFF, "group", *steps) == steps
    OFF.told("list swap", 0, list="TH/national")
    OFF.stop()


def test_a_missing_extra_is_named(monkeypatch):
    """With a collector and without OpenTelemetry, the start says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigInvalid, match=r"ops\.traces needs.*ringfence\[otel\]"):
        traces_to("http://127.0.0.1:4318/v1/traces", 1.0, "test")
