"""The alerts whose windows are hours: `python -m tests.tools.faults.slow`, after the fast ones.

No lab runs for so long. Their series are those that were recorded around the same fault for the
fast alert, and then made ones: all is well, at the pace of the time before, for as long as the
windows are. So the fault is a real one, and what follows it is not; each file says so.
"""

import sys

import yaml

from tests.tools.faults.clock import PACE
from tests.tools.faults.record import GOLDEN

WELL = 800
"""Half minutes in which all is well: more than the six hours of the longest window that ends it."""
PACES = {
    "ringfence_list_synced_timestamp_seconds": PACE,
    "ringfence_decision_latency_seconds_bucket": 34,
    "ringfence_decision_latency_seconds_count": 34,
}
"""By how much a series grows in half a minute."""
_HEAD = """\
# {slow}: its windows are hours, longer than the lab runs. The series begin as {fast} was recorded
# around a real fault; the last {well} half minutes, in which all is well, are made by
# `python -m tests.tools.faults.slow`.
"""


def write(fast: str, slow: str) -> None:
    """The file of the slow alert from that of the fast one."""
    test = yaml.safe_load((GOLDEN / f"{fast}.yml").read_text())
    (case,) = test["tests"]
    for one in case["input_series"]:
        grows = PACES[one["series"].partition("{")[0]]
        last = float(one["values"].split()[-1].partition("x")[0])
        one["values"] += f" {last + grows:.12g}+{grows}x{WELL}"
    before, _, cleared = case["promql_expr_test"]
    ended_s = int(cleared["eval_time"].removesuffix("s"))
    checks = [before, cleared | {"exp_samples": [{"labels": "{}", "value": 1}]}]
    checks.append(cleared | {"eval_time": f"{ended_s + WELL * PACE}s"})
    for check in checks:
        check["expr"] = check["expr"].replace(fast, slow)
    case["promql_expr_test"] = checks
    test["evaluation_interval"] = "2m"  # as well, and a quarter of the work
    head = _HEAD.format(slow=slow, fast=fast, well=WELL)
    (GOLDEN / f"{slow}.yml").write_text(head + yaml.safe_dump(test, sort_keys=False, width=10**9))


if __name__ == "__main__":
    for kind in sys.argv[1:] or ("DecisionsLate", "ListsStale"):
        write(f"{kind}Fast", f"{kind}Slow")
