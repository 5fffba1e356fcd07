"""deploy/prometheus: every rule reads what is there, and every alert says what to do about it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.promql import RULE_FILES, RULES, alerts, metrics_of, rules, unknown


def promtool(*words: str) -> tuple[int, str]:
    """Exit code, and everything that was printed."""
    done = subprocess.run(
        ["promtool", *words], capture_output=True, text=True, check=False, cwd=RULES
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.needs_promtool
@pytest.mark.parametrize(
    "words",
    [("check", "config", "prometheus.yml"), ("check", "rules", "--lint-fatal", *RULE_FILES)],
    ids=["config", "rules"],
)
def test_prometheus_accepts_it(words: tuple[str, ...]) -> None:
    """Promtool finds nothing wrong with the scrape configuration and the rules."""
    code, said = promtool(*words)
    assert code == 0, said


def test_the_configuration_reads_every_rule_file() -> None:
    """A file of rules that is not read is a promise that nobody keeps."""
    read = yaml.safe_load((RULES / "prometheus.yml").read_text())["rule_files"]
    assert set(read) == set(RULE_FILES)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_reads_what_is_there(rule: dict[str, Any]) -> None:
    """Each metric is in the catalogue or recorded by another rule, and has the labels asked for."""
    assert not unknown(rule["expr"])


def test_a_misspelt_metric_or_label_is_found() -> None:
    """Prometheus says nothing of it: the alert never fires."""
    wrong = 'rate(ringfence_call_total{topic="x"}[5m])'
    assert unknown(wrong) == ["no metric ringfence_call_total"]
    assert unknown('sum(ringfence_calls_total{topik=~"a|b"} offset 5m)') == [
        "ringfence_calls_total has no label topik"
    ]
    bucket = "ringfence_feed_fetch_duration_seconds_bucket"
    fine = f'histogram_quantile(0.9, sum by (le) (rate({bucket}{{le="1"}}[5m])))'
    assert metrics_of(fine) == {bucket}
    assert not unknown(fine)


@pytest.mark.parametrize("name", list(alerts()))
def test_an_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    """An alert names the severity, the effect on callers, and the place in the runbook."""
    alert = alerts()[name]
    assert re.fullmatch("([A-Z][a-z]+)+", name)
    assert alert["labels"]["severity"] in {"page", "ticket"}
    said = alert["annotations"]
    assert said["runbook_url"] == f"deploy/RUNBOOK.md#{name.lower()}"
    assert len(said["summary"]) > 10
    assert "{{ $value }}" not in said["summary"], "a million is 1e+06 there: use printf"
    assert said["feels"].endswith(".")


def sections() -> dict[str, str]:
    """The runbook's parts, by heading."""
    parts = (RULES.parent / "RUNBOOK.md").read_text().split("\n## ")[1:]
    return {part.partition("\n")[0]: part for part in parts}


@pytest.mark.parametrize("name", list(alerts()))
def test_the_runbook_has_each_alert(name: str) -> None:
    """The runbook has each alert by its name: meaning, first look, fix, confirmation."""
    section = sections()[name].split("\n### ")[0]
    for word in ("**Meaning.**", "**First look.**", "**Fix.**", "**Confirm.**"):
        assert section.count(word) == 1, word


def test_the_runbook_has_no_alert_that_is_gone() -> None:
    """A heading that looks like an alert is one."""
    named = {name for name in sections() if re.fullmatch("([A-Z][a-z]+){2,}", name)}
    assert named == alerts().keys()


@pytest.mark.needs_promtool
@pytest.mark.parametrize(
    ("alert", "series", "before", "after"),
    [
        ("KeysOld", "ringfence_sink_built_timestamp_seconds", "4m", "20m"),
        (
            "SignatureNotRenewed",
            'ringfence_exchange_expires_timestamp_seconds{role="timestamp"}',
            "20m",
            "45m",
        ),
    ],
)
def test_a_process_that_died_renews_nothing(
    tmp_path: Path, alert: str, series: str, before: str, after: str
) -> None:
    """Its series end with it: what it said last counts until another process says something."""
    ends = alert == "SignatureNotRenewed"
    died = {"series": series, "values": "9000x10 _x40" if ends else "0+60x10 _x40"}
    fires = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)'
    another = series.removesuffix("}") + (", " if "{" in series else "{") + 'instance="other"}'
    lives = {"series": another, "values": "90000x50" if ends else "0+60x50"}

    def played(inputs: list[dict[str, str]], at: str, count: int) -> dict[str, Any]:
        samples = [{"labels": "{}", "value": count}]
        return {
            "interval": "1m",
            "input_series": inputs,
            "promql_expr_test": [{"expr": fires, "eval_time": at, "exp_samples": samples}],
        }

    tests = [played([died], before, 0), played([died], after, 1), played([died, lives], after, 0)]
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(RULES / name) for name in RULE_FILES],
                "evaluation_interval": "1m",
                "tests": tests,
            }
        )
    )
    code, said = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert code == 0, said


@pytest.mark.needs_promtool
@pytest.mark.parametrize(
    ("alert", "labels"),
    [
        ("RegisterLostData", ("ringfence_list_events_total", 'event="register_lost"')),
        ("RecordsSkipped", ("ringfence_register_records_skipped_total", 'place="entry"')),
        ("KeysMissing", ("ringfence_sink_keys_capped_total", 'sink="redis"')),
        ("RecordsLost", ("ringfence_ingest_files_total", 'happening="lost"')),
        ("InnocentSighted", ("ringfence_enforcement_sightings_total", 'result="taken"')),
    ],
)
def test_a_fault_found_at_a_start_fires(
    tmp_path: Path, alert: str, labels: tuple[str, str]
) -> None:
    """A counter that is above 0 at the first scrape never rises; an old one fires nothing."""
    name, label = labels
    where = 'instance="new", job="ringfence"'
    fires = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)'

    def played(started_s: int, count: int) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [
                {"series": f"{name}{{{label}, {where}}}", "values": "_x120 3x200"},
                {"series": f"process_start_time_seconds{{{where}}}", "values": f"{started_s}x320"},
            ],
            "promql_expr_test": [
                {
                    "expr": fires,
                    "eval_time": "125m",
                    "exp_samples": [{"labels": "{}", "value": count}],
                },
                {"expr": fires, "eval_time": "200m", "exp_samples": [{"labels": "{}", "value": 0}]},
            ],
        }

    (tmp_path / "test.yml").write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(RULES / name) for name in RULE_FILES],
                "evaluation_interval": "1m",
                "tests": [played(7190, 1), played(0, 0)],
            }
        )
    )
    code, said = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert code == 0, said


@pytest.mark.needs_promtool
def test_calls_that_stop_are_reported_and_others_not(tmp_path: Path) -> None:
    """Until calls come again, or a day; a topic's usual silence wakes nobody, nor does Kafka's."""
    firing = 'count(ALERTS{alertname="CallsStopped", alertstate="firing"}) or vector(0)'
    where = 'job="ringfence", instance="engine", topic="calls"'

    def played(calls: str, kafka: str = "1x2200", **looks: int) -> dict[str, Any]:
        series = {f"ringfence_calls_total{{{where}}}": calls, "ringfence_kafka_up": kafka}
        return {
            "interval": "1m",
            "input_series": [{"series": one, "values": text} for one, text in series.items()],
            "promql_expr_test": [
                {
                    "expr": firing,
                    "eval_time": at.removeprefix("at_"),
                    "exp_samples": [{"labels": "{}", "value": count}],
                }
                for at, count in looks.items()
            ],
        }

    tests = {
        "a switch stopped": played("0+300x400 120000x1000", at_414m=0, at_421m=1, at_1380m=1),
        "Kafka is away": played(
            "0+300x400 120000x1000", "1x400 0x100 1x700", at_421m=0, at_500m=0, at_530m=1
        ),
        "calls again": played("0+300x400 120000x60 120000+300x50", at_459m=1, at_470m=0),
        "a restart": played("0+300x400 0x2 0+300x200", at_404m=0, at_420m=0, at_500m=0),
        "few calls": played("0+3x400 1200x300", at_421m=0, at_600m=0),
        "a file an hour": played("0+9000x4 36000x55 " * 9, at_500m=0),
        "the second night": played(
            "0+300x600 180000x840 180000+300x600 360000x100", at_621m=1, at_2056m=0
        ),
    }
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(RULES / name) for name in RULE_FILES[:2]],
                "evaluation_interval": "5m",
                "tests": [{"name": name, **test} for name, test in tests.items()],
            }
        )
    )
    code, said = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert code == 0, said


@pytest.mark.needs_promtool
def test_a_process_by_which_calls_come_in_wakes_a_person(tmp_path: Path) -> None:
    """Not while another one answers, and not for a page that nobody asks about calls."""
    firing = 'count(ALERTS{alertname="IntakeDown", alertstate="firing"}) or vector(0)'
    asked = 'ringfence_http_requests_total{job="ringfence-serve", route="/v1/decision"}'

    def played(count: int, **series: str) -> dict[str, Any]:
        named = {
            name: f'up{{job="ringfence-{name.rstrip("2")}", instance="{name}"}}' for name in series
        }
        named["asked"] = asked
        return {
            "interval": "1m",
            "input_series": [
                {"series": named[name], "values": values} for name, values in series.items()
            ],
            "promql_expr_test": [
                {"expr": firing, "eval_time": at, "exp_samples": [{"labels": "{}", "value": value}]}
                for at, value in (("20m", 0), ("40m", count), ("70m", 0))
            ],
        }

    down = "1x20 0x30 1x30"
    tests = [
        played(1, sip=down),
        played(0, sip=down, sip2="1x80"),
        played(1, ingest=down, ingest2="1x80"),
        played(0, serve=down),
        played(0, serve=down, asked="0x80"),
        played(1, serve=down, asked="0+60x20 _x30 0+60x30"),
        played(0, feeds=down),
    ]
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": [str(RULES / "alerts.yml")], "tests": tests})
    )
    code, said = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert code == 0, said


RECORDED = Path(__file__).parents[2] / "golden/alerts"


def test_each_alert_has_a_recording_of_its_fault() -> None:
    """`python -m tests.tools.faults` writes them; none is missing, none is left over."""
    assert {path.stem for path in RECORDED.glob("*.yml")} == alerts().keys()


@pytest.mark.campaign  # promtool plays hours of scrapes: 40 s
@pytest.mark.needs_promtool
def test_alerts_fire_and_clear_on_recorded_faults() -> None:
    """On what was scraped around a real fault each alert fires while it is there, and clears."""
    code, said = promtool("test", "rules", *sorted(map(str, RECORDED.glob("*.yml"))))
    assert code == 0, said
