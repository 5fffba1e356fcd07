"""Verify a country's list and look up a number in it, without any code of Ringfence:

pip install tuf pybloom-live
python read_a_list.py URL ROOT.JSON KH/scam +85523900123 [CIRCLE_KEY_HEX]

ROOT.JSON is the owner's, received in a way that you trust. Seen versions are kept in ./seen, so
that an older one is refused. Expiry and confidence are in the list's other parts. This example
reads neither, nor entries for a whole block of numbers, "+8552390*".
"""

import json
import sys
from hashlib import sha512
from pathlib import Path

from pybloom_live import BloomFilter
from tuf.ngclient import Updater

url, root, name, number = sys.argv[1:5]
element = "".join(sys.argv[5:6]) + number
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
    """Return a signed part of the list, fetched only if it is not here yet."""
    target = repository.get_targetinfo(f"{name}/{part}")
    if target is None:
        sys.exit(f"{name}/{part} is not signed by anybody who may speak for it")
    return Path(repository.find_cached_target(target) or repository.download_target(target))


latest = json.loads(verified("latest.json").read_bytes())
whole = latest["whole"]
with verified(f"{whole}/filter.bloom").open("rb") as file:
    listed = element in BloomFilter.fromfile(file)
# A filter is wrong once in 10,000 numbers. The fingerprints, if shared, are exact.
fingerprint = sha512(sha512(bytes(4)).digest() + element.encode()).digest()[-8:]
if listed and "fingerprint" in latest["parts"]:
    column = verified(f"{whole}/fingerprint").read_bytes()
    listed = fingerprint in {column[at : at + 8] for at in range(0, len(column), 8)}
# The changes since then, in order; the first and the last line describe the file.
for begin, end in latest["changes"]:
    for line in verified(f"changes/{begin}-{end}.jsonl").read_bytes().splitlines()[1:-1]:
        change = json.loads(line)
        if change.get("number") == number or change.get("fingerprint") == fingerprint[::-1].hex():
            listed = change["op"] == "add"
sys.stdout.write(f"{number}: {'listed' if listed else 'not listed'} in {name}\n")
