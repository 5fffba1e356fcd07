import phonenumbers
import pytest
from phonenumbers import shortnumberinfo

from stream.lab.demo.world import BANK_PREFIX, COUNTRIES, build_world, write_list


@pytest.fixture(scope="module")
def world():
    return build_world(seed=1, numbers_per_list=2_000)


def test_a_seed_always_gives_the_same_world(world):
    """Two runs with one seed judge the same world, so a failure can be looked at again."""
    assert build_world(seed=1, numbers_per_list=2_000) == world
    assert build_world(seed=2, numbers_per_list=2_000) != world


def test_every_list_is_as_long_as_asked_and_names_nobody_twice(world):
    """A list has at least the numbers asked for, all different."""
    for members in world.lists.values():
        assert len(members) >= 2_000
        assert len(set(members)) == len(members)


def test_numbers_are_possible_ones_of_their_countries(world):
    """Every generated number is a possible one of its country, says libphonenumber."""
    for country in COUNTRIES:
        own = [n for n in world.lists[country.list] if n.startswith(f"+{country.code}")]
        for number in [*world.people[country.iso][:300], *own[:300]]:
            parsed = phonenumbers.parse(number)
            assert phonenumbers.is_possible_number(parsed), number
            assert phonenumbers.region_code_for_number(parsed) == country.iso, number


def test_the_national_form_leads_back_to_the_number(world):
    """Switches of a country write a form that libphonenumber reads as the same number."""
    for country in COUNTRIES:
        for number in world.people[country.iso][:300]:
            parsed = phonenumbers.parse(country.national(number), country.iso)
            assert phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) == number


def test_emergency_numbers_are_those_of_their_countries():
    """The emergency number that listed callers dial is one in its country."""
    for country in COUNTRIES:
        assert shortnumberinfo.is_emergency_number(country.emergency, country.iso)


def test_nobody_innocent_is_listed(world):
    """The people of the five countries stand on no list, nor do the numbers that will be added."""
    listed = {number for members in world.lists.values() for number in members}
    for people in world.people.values():
        assert not listed.intersection(people)
    assert world.to_add not in listed


def test_holders_are_the_lists_turned_around(world):
    """For every number `holders` names exactly the lists that it stands on; some stand on two."""
    for name, members in world.lists.items():
        for number in members:
            assert name in world.holders[number]
    assert sum(map(len, world.holders.values())) == sum(map(len, world.lists.values()))
    assert any(len(names) > 1 for names in world.holders.values())


def test_the_number_that_is_removed_stands_on_one_list_only(world):
    """Taking it off its list must let its calls through at once."""
    assert world.holders[world.to_remove] == ("KH/scam",)


def test_allowed_numbers_are_listed_ones(world):
    """The allowlist is only tested by numbers that a list would block."""
    for number in (*world.allowed, *world.bank):
        assert world.holders[number]
        assert world.is_allowed(number)
    assert f"{BANK_PREFIX}*" in world.allow_texts


def test_a_list_is_written_as_a_ministry_would_send_it(world, tmp_path):
    """The file has a header and one row for each number."""
    path = tmp_path / "list.csv"
    write_list(world.lists["TH/national"], path, "2025-11-24T00:00:00Z")
    header, *rows = path.read_text().splitlines()
    assert header == "number,category,reported_at"
    assert [row.split(",")[0] for row in rows] == list(world.lists["TH/national"])
