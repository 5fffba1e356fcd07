"""Short runs of the fuzz targets; longer ones are for changes of what they read."""

import pytest

from stream.core import kernels
from stream.feeds.open import FORMATS
from tests.fuzz import (
    feed_files,
    filters,
    http_requests,
    passports,
    push_bodies,
    registry_frames,
    sip_messages,
    switch_records,
    tuf_metadata,
    whole_way,
)
from tests.fuzz.scan import ALL, compare, mutants

MORE = [pytest.param(seed, marks=pytest.mark.campaign) for seed in (1001, 1002, 1003)]
"""A second of CPU each, for each dialect."""


@pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels here")
@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("seed", [1000, *MORE])
def test_no_record_of_a_hundred_thousand_is_read_in_two_ways(dialect, seed):
    """Scan, fallback decoder, json and csv agree about records that were broken at random."""
    assert compare(mutants(dialect, seed, 20_000), dialect) > 2_000


@pytest.mark.parametrize("kind", FORMATS)
def test_no_feed_file_is_read_otherwise_than_promised(tmp_path, kind):
    """Samples of each format, broken at random, end in rows and rejected rows or in a refusal."""
    # Each look at a workbook is a process of its own.
    rounds, least = {"workbook": (30, 5), "json": (150, 10), "xml": (150, 10)}.get(kind, (150, 50))
    assert feed_files.run(kind, 1000, rounds, tmp_path) > least


@pytest.mark.parametrize("kind", switch_records.DIALECTS)
def test_no_record_of_a_switch_is_read_otherwise_than_promised(kind):
    """Samples of each dialect, broken at random, halved and with odd times, end in calls and in
    rejects with their reasons, the same with kernels and without.
    """
    assert switch_records.run(kind, 1000, 120) >= 2


@pytest.mark.parametrize("kind", registry_frames.KINDS)
def test_no_record_of_a_schema_registry_is_lost(kind):
    """Records and schemas, broken at random, end in calls and in rejects with their own bytes."""
    assert registry_frames.run(kind, 1000, 200) >= (1 if kind == "schema" else 10)


@pytest.mark.parametrize("kind", passports.KINDS)
def test_no_passport_is_believed_that_nobody_signed(kind):
    """Identity fields, broken at random, are found wrong; only what our key signed has a level."""
    assert passports.run(kind, 1000, 100) >= 10


@pytest.mark.parametrize("kind", push_bodies.KINDS)
def test_no_body_changes_a_list_but_by_numbers(tmp_path, kind):
    """Bodies that change lists, broken at random, end as changes of numbers or with a problem."""
    assert push_bodies.run(kind, 1000, 60, tmp_path) >= 5


@pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels here")
@pytest.mark.parametrize("kind", whole_way.DIALECTS)
def test_no_record_leaves_its_batch_as_an_exception(kind):
    """With every rule on, hostile records end in decisions and rejects, the same with kernels and
    without; a member that nobody uses changes nothing.
    """
    assert whole_way.run(kind, 1000, 150) >= 2


def test_no_message_of_sip_is_lost_or_ends_a_door():
    """Torture messages and others, broken at random, as datagrams and in streams: each is answered
    or counted, and no answer to a stranger is more than a little longer than what he sent.
    """
    assert sip_messages.run("doors", 1000) > 100


@pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels here")
@pytest.mark.parametrize("kind", filters.KINDS)
def test_no_filter_and_no_snapshot_is_read_otherwise_than_promised(kind):
    """Filters, manifests and whole snapshots, broken at random, are refused with the reason. What
    is accepted matches the same by kernels and by NumPy.
    """
    # A manifest has its own checksum, so nothing that was changed is accepted.
    assert filters.run(kind, 1000, 150) >= (0 if kind == "manifest" else 5)


@pytest.mark.parametrize("kind", http_requests.KINDS)
def test_no_request_of_http_ends_the_server_or_is_its_fault(kind):
    """Requests, broken at random, in pieces and behind each other, are answered or their
    connection ends; none is answered 500, or logged as an error.
    """
    assert http_requests.run(kind, 1000, 100) > 50


@pytest.mark.parametrize("kind", tuf_metadata.KINDS)
def test_no_signed_metadata_is_taken_for_other_than_what_its_owner_signed(kind):
    """A web server that changes files, and an owner who signs odd ones, are refused with a reason,
    or read as what was signed; no name leads out of the partner's folder.
    """
    assert tuf_metadata.run(kind, 1000, 20) >= 3
