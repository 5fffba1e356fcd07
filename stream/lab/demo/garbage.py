"""Records that are no calls: what topics really hold after a bad deploy, a bug or a scan."""

CALL = (
    '{{"call_id":"bad-{mark}","caller":"+66812345678","callee":"+66898765432",'
    '"started_at":"2026-01-05T08:00:00Z","trunk":"th-bkk-01"}}'
)
TOO_LARGE_BYTES = 300_000
"""Beyond the default `calls.record_bytes_max`, below the default message size of a broker."""


def garbage(n: int, series: str) -> bytes | None:
    """Bad record `n` of a series (None: a tombstone). Each sort comes in turn; most are unique."""
    mark = f"{series}-{n}"
    call = CALL.format(mark=mark)
    sorts: tuple[bytes | None, ...] = (
        f"\x16\x03\x01 no call {mark}".encode(),
        call[: len(call) // 2].encode(),
        call.replace("bad", "\udcff\udcfe").encode(errors="surrogateescape"),
        None,
        f'{{"note":"no field of a call in record {mark}"}}'.encode(),
        call.replace('"+66812345678"', f'["{mark}"]').encode(),
        b"[" * 5000 + mark.encode(),
        call.replace("{", '{"caller":"+66811111111",', 1).encode(),
        b"",
        b"\x00" * 64 + mark.encode(),
        call.encode() * 2,
    )
    if n == len(sorts):  # once is enough: it is large
        return call.replace("bad", "x" * TOO_LARGE_BYTES).encode()
    return sorts[n % len(sorts)]
