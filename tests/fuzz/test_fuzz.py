"""Short runs of the fuzz targets; longer ones are for whoever changes what they look at."""

import pytest

from stream.core import kernels
from tests.fuzz.json_records import mutants
from tests.fuzz.scan import DIALECTS, compare


@pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels here")
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("seed", range(1000, 1004))
def test_no_record_of_a_hundred_thousand_is_read_in_two_ways(dialect, seed):
    """Scan, ordinary decoder and json agree about records that were broken at random."""
    assert compare(list(mutants(seed, 20_000)), dialect) > 2_000
