"""Calls for help, recognised."""

import pytest

from stream.core.model.errors import ConfigInvalid
from stream.core.numbers.emergency import EmergencyNumbers

PLAIN = EmergencyNumbers({})

# Kept by hand: what the regions' own authorities tell people to dial.
BY_HAND = {
    "BN": "991 993 995", "ID": "110 112 113 115 118 119", "KH": "117 118 119",
    "LA": "190 191 195 1190 1191 1195", "MM": "191 192 199", "MY": "112 999", "PH": "117 911",
    "SG": "995 999", "TH": "191 199 1669", "TL": "112 115", "VN": "112 113 114 115",
    "CN": "110 119 120 122", "JP": "110 118 119", "KR": "112 119", "IN": "100 101 102 108 112",
    "US": "911", "GB": "112 999", "AU": "000 112", "NZ": "111", "DE": "110 112",
    "FR": "15 17 18 112",
}  # fmt: skip


@pytest.mark.parametrize("region", BY_HAND)
def test_table(region):
    """Every emergency number of the table is one, in its region and on an unknown trunk."""
    for number in BY_HAND[region].split():
        assert PLAIN.is_emergency(number, region)
        assert PLAIN.is_emergency(number, region.lower())
        assert PLAIN.is_emergency(number, None)
        assert PLAIN.is_emergency(f"sip:{number}@esrp.example;user=phone", region)


@pytest.mark.parametrize("region", ["TH", "CN", "XX", None])
@pytest.mark.parametrize("number", ["112", "911"])
def test_everywhere(region, number):
    """112 and 911 are calls for help on every trunk, as on every mobile network."""
    assert PLAIN.is_emergency(number, region)


@pytest.mark.parametrize(
    "callee",
    [
        "191", " 191 ", "1-9-1", "sip:191@host", "sips:191@host", "tel:191", "+66191", "0066191",
        "66191", "tel:+66-191", "sip:+66191@host;user=phone", '"Police" <sip:191@host>',
        "tel:191;phone-context=+66", "sip:191;phone-context=+66@host;user=phone",
        "urn:service:sos", "urn:service:sos.police", "<urn:service:sos>", "URN:service:SOS",
        "sip:sos@host", "1669", "１９１", "๑๙๑", "\u200e191", "1\u00a091", "sip:%31%39%31@host",
        "tel:191;phone-context=+44", "+191", "tel:+191", "191#", "*67191", "#31#191", "*31#191#",
        "<urn:service:sos.fire>;cpc=ordinary",
    ],
)  # fmt: skip
def test_forms(callee):
    """However the switch writes it, a call to 191 from Thailand is one for help."""
    assert PLAIN.is_emergency(callee, "TH")


@pytest.mark.parametrize("callee", ["tel:191;phone-context=+66", "+66191", "0066191"])
def test_country_in_the_number(callee):
    """A number that names its country is judged by that country's numbers."""
    assert PLAIN.is_emergency(callee, "US")
    assert PLAIN.is_emergency(callee, None)


@pytest.mark.parametrize(
    "callee",
    [
        None, "", "+", "0191", "1910", "19", "+1910", "*6719", "*191", "##191",
        "9112345678", "99912345", "+66812345678",
        "0812345678", "anonymous", "urn:service:counseling", "urn:service:sosx", "sosa", "KBank",
        "1" * 100_000, "sip:host", "%", "\ud800",
    ],
)  # fmt: skip
def test_others(callee):
    """A call to anybody else, or to garbage, is no call for help."""
    assert not PLAIN.is_emergency(callee, "TH")
    assert not PLAIN.is_emergency(callee, "SG")


def test_another_region():
    """A short number is one for help only where it is; 1669 is Thailand's."""
    assert not PLAIN.is_emergency("1669", "SG")
    assert not PLAIN.is_emergency("66191", "SG")


def test_configured():
    """Numbers from the configuration count in their region, and where the region is unknown."""
    numbers = EmergencyNumbers({"TH": frozenset({"1300"})})
    assert numbers.is_emergency("1300", "TH")
    assert numbers.is_emergency("+661300", "SG")
    assert numbers.is_emergency("1300", None)
    assert numbers.is_emergency("191", "TH")
    assert not numbers.is_emergency("1300", "SG")
    assert not PLAIN.is_emergency("1300", "TH")


def test_wrong_configuration():
    """All that is wrong in the configuration is said at once, each with its place."""
    with pytest.raises(ConfigInvalid) as caught:
        EmergencyNumbers({"Siam": frozenset({"191"}), "TH": frozenset({"+191", "", "16 69"})})
    assert len(caught.value.errors) == 4
    assert caught.value.errors[0] == "policy.emergency.Siam: no such region (ISO 3166)"
