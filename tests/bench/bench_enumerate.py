"""The protection by a circle's key: the time in which its holder hashes a whole numbering plan.

Every Thai mobile number (+66, then 6, 8 or 9 and 8 digits: 300 million) is hashed as its
fingerprint is, `SHA-512(salt || key || number)`. Measured is one thread on a tenth of a million of
them, with the standard library, and with the product's kernels where they are; the whole plan is
that times 3,000. Against 2^256 keys for who does not hold it.

No target: it is a figure for docs/understand/privacy.md, so that nobody takes a keyed filter
for encryption.
"""

import time

import numpy as np

from stream.core.filters.digests import Digests, elements
from tests.bench.lab import Lab
from tests.bench.report import Report, Row

PLAN = 300_000_000
SAMPLE = 100_000
ROUNDS = 5


async def run(lab: Lab) -> list[Report]:
    """Hash a part of the plan several times, and say what the whole takes."""
    key = bytes(range(32))
    texts = [b"+66%d" % (800_000_000 + offset) for offset in range(SAMPLE)]
    numbers = np.array(texts, "S16")
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        Digests(elements(numbers, key)).fingerprints()
        rounds.append((time.process_time() - start) * PLAN / SAMPLE / 60)
    report = Report("enumerate", notes=[f"one thread; Ringfence {lab.kernels}"])
    report.rows = [Row("all 300 million Thai mobile numbers", {"minutes": rounds})]
    return [report]
