"""Campaigns of load, each a smaller one: what is served, what is refused, how it is reported."""

import pytest

from tests.campaigns import load_http, load_lists, load_partitions, load_sip

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.apache_kafka,
    pytest.mark.expects_errors("Group Coordinator|[Uu]nable|Kafka"),
]
PART = "smaller"


async def test_connections_are_served_or_told_that_there_are_too_many(tmp_path, measured):
    """Those within the limit are served, again and again; the others get 503, counted."""
    figures = await load_http.run(load_http.Size(2_000, 1_500), tmp_path, PART)
    measured(str(figures))
    assert load_http.right(figures) == []


async def test_each_call_by_sip_is_answered_or_counted(tmp_path, measured):
    """Each answer is right. What no answer got is counted with its reason, lost datagrams too."""
    figures = await load_sip.run(load_sip.Size(1_000, 5.0), tmp_path, PART)
    measured(str(figures))
    assert load_sip.right(figures) == []


async def test_one_worker_reads_many_partitions(tmp_path, measured):
    """Every partition is read to its end by the fetcher, and each listed call is decided once."""
    figures = await load_partitions.run(load_partitions.Size(100, 10_000), tmp_path, PART)
    measured(str(figures))
    assert load_partitions.right(figures) == []


async def test_many_lists_under_many_agreements_decide_right(tmp_path, measured):
    """Members are blocked by their own list under its agreement, and a change is enforced."""
    figures = await load_lists.run(load_lists.Size(300, 20), tmp_path, PART)
    measured(str(figures))
    assert load_lists.right(figures) == []
