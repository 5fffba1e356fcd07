"""Verify a country's list and ask it for a number, with nothing of Ringfence:

pip install tuf pybloom-live
python read_a_list.py URL ROOT.JSON KH/scam +85523900123 [CIRCLE_KEY_HEX]

ROOT.JSON is the owner's, had by a way that you trust. What was seen before is kept in ./seen, so
that an older version is refused. A hit of a Bloom filter is right in all but one of 10,000 cases.
"""

import json
import sys
from pathlib import Path

from pybloom_live import BloomFilter
from tuf.ngclient import Updater

url, root, name, number = sys.argv[1:5]
key = sys.argv[5] if len(sys.argv) > 5 else ""
seen = Path("seen", name)
for folder in ("metadata", "targets"):
    (seen / folder).mkdir(parents=True, exist_ok=True)
repository = Updater(
    metadata_dir=str(seen / "metadata"),
    metadata_base_url=f"{url}/metadata/",
    target_dir=str(seen / "targets"),
    target_base_url=f"{url}/targets/",
    bootstrap=Path(root).read_bytes(),
)


def verified(part: str) -> Path:
    """A part of the list, as it was signed, fetched only if it is not here yet."""
    target = repository.get_targetinfo(f"{name}/{part}")
    if target is None:
        sys.exit(f"{name}/{part} is not signed by anybody who may speak for it")
    return Path(repository.find_cached_target(target) or repository.download_target(target))


latest = json.loads(verified("latest.json").read_bytes())
with verified(f"{latest['generation']}/filter.bloom").open("rb") as file:
    found = (key + number) in BloomFilter.fromfile(file)
sys.stdout.write(f"{number}: {'listed' if found else 'not listed'} in {name}\n")
