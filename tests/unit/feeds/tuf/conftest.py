"""A country's repository, for tests of who follows it."""

from pathlib import Path

import pytest

from tests.support.repositories import Country


@pytest.fixture
def kh(tmp_path: Path) -> Country:
    country = Country(tmp_path / "kh")
    country.publish({"latest.json": b'{"generation":1}', "1/filter.bloom": b"bits" * 1000})
    return country
