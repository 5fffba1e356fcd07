"""Both ways in which a promise is kept."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from stream.core import kernels


@pytest.fixture(params=["as installed", "without kernels"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep a promise with the kernels, and where there are none."""
    with kernels.reference_only() if request.param == "without kernels" else nullcontext():
        yield
