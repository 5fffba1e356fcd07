"""Time zones as configuration names them."""

from datetime import timedelta

import pytest

from stream.core.model.time_zones import zone_of


def test_zones():
    """Offsets are written in one way."""
    assert timedelta(hours=-3, minutes=-30) == zone_of("-03:30").utcoffset(None)
    for wrong in ("", "7", "+7:00", "07:00", "+0700", "+07:0x"):
        with pytest.raises(ValueError, match="UTC offset"):
            zone_of(wrong)
