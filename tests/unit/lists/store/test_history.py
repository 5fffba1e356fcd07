"""Entries of the audit that people read as one change."""

from stream.lists.store.audit_entries import AuditEntry
from stream.lists.store.history import TOGETHER_S, AuditRun, detail_of_run

AT_S = 1_795_564_428


def entry(number: int, **changed: object) -> AuditEntry:
    """An entry of an import, as the list store writes one for each number."""
    fields = {
        "number": number,
        "at_s": AT_S,
        "actor": "malee",
        "reason": "import of week-48.csv",
        "list": "TH/national",
        "op": "add",
        "generation": number,
        "detail": f"+6681***{number:04d}",
    } | changed
    given = {name.encode(): str(value).encode() for name, value in fields.items()}
    return AuditEntry.of(f"{number}-0", given)


def run_of(*entries: AuditEntry) -> list[AuditRun]:
    """Runs of entries, newest first."""
    runs: list[AuditRun] = []
    for one in entries:
        if not (runs and runs[-1].takes(one)):
            runs.append(AuditRun(one, one))
    return runs


def test_an_import_is_one_run() -> None:
    """Numbers that follow each other are counted, the newest are named, and the ends are known."""
    (run,) = run_of(*(entry(number) for number in range(5_000, 0, -1)))
    assert (run.entries, run.oldest.generation, run.newest.generation) == (5_000, 1, 5_000)
    assert detail_of_run(run) == "5,000 numbers: +6681***4998, +6681***4999, +6681***5000, ..."
    (run,) = run_of(entry(2), entry(1))
    assert detail_of_run(run) == "2 numbers: +6681***0001, +6681***0002"
    (run,) = run_of(entry(1))
    assert detail_of_run(run) == "+6681***0001"


def test_what_differs_or_lies_between_ends_a_run() -> None:
    """Another person, reason, list, operation or moment, an entry between, and other operations."""
    for changed in (
        {"actor": "somchai"},
        {"reason": "appeal 7"},
        {"list": "TH/other"},
        {"op": "remove"},
        {"at_s": AT_S - TOGETHER_S - 1},
    ):
        assert len(run_of(entry(2), entry(1, **changed))) == 2, changed
    assert len(run_of(entry(3), entry(1))) == 2
    bases = (entry(number, op="base") for number in (2, 1))
    assert len(run_of(*bases)) == 2
