import tomllib

import pytest

from stream.lab.demo.demo_kafka import Topics
from stream.lab.demo.material import LIVE_PER_S, LIVE_S, Scale, make_material
from stream.lab.demo.product import Places, write_config
from stream.lab.demo.world import COUNTRIES
from tests.support.commands import command


@pytest.mark.parametrize("words", [["--calls", "10"], ["--calls", "many"], ["--colour", "red"]])
def test_a_wrong_option_starts_nothing(words):
    """Usage errors end with exit code 2 before anything is started, and name the option."""
    said = command("demo", *words)
    assert said.code == 2
    assert words[0] in said.err


def test_the_parts_of_the_traffic_add_up():
    """Recorded, live and changing numbers' calls are what was asked for, at the rate said."""
    scale = Scale(calls=330_000, numbers=100_000, seed=1)
    assert scale.recorded + scale.live + scale.probes == 330_000
    assert scale.recorded >= 300_000
    assert (scale.live + scale.probes) / LIVE_S == LIVE_PER_S


def test_material_comes_with_a_file_for_each_list(tmp_path):
    """Every country's list lies in the folder, as long as is said."""
    material = make_material(Scale(20_000, 1_000, 1), tmp_path, now_s=1_764_000_000)
    assert [name for name, _, _ in material.files] == [country.list for country in COUNTRIES]
    for _, path, count in material.files:
        assert len(path.read_text().splitlines()) == count + 1 > 1_000
    assert len(material.recorded.records) + len(material.live.records) < 20_000


def test_the_configuration_is_what_a_user_would_write(tmp_path):
    """The file is TOML, and awkward paths stay what they are."""
    redis = "redis://127.0.0.1:6379/0"
    places = Places("127.0.0.1:9092", True, redis, True, Topics.named("x."), "group")
    path = tmp_path / "ringfence.toml"
    write_config(path, places, tmp_path / 'a "quoted" \\ folder', 9464)
    read = tomllib.loads(path.read_text())
    assert read["calls"]["topics"] == {"x.calls": "ringfence"}
    assert read["lists"]["state_dir"] == str(tmp_path / 'a "quoted" \\ folder')
    assert read["policy"]["lists"]["VN/spam"] == {"action": "flag"}
    assert {trunk["country"] for trunk in read["trunks"].values()} == {"TH", "MM", "KH", "PH", "VN"}
