"""Ask one `serve-sip` process about 10,000 calls a second over UDP.

    python -m tests.campaigns.load_sip                              10,000 calls/s for a minute
    python -m tests.campaigns.load_sip --rate 500 --seconds 5

Every call is answered, or counted with the reason: nothing may be lost without a trace. An answer
is right by its code: 603 for a listed caller, 404 for another. A second round goes at twice the
trunk's `requests_per_s`: the part beyond it is answered 503.
"""

import argparse
import asyncio
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.place import HOST, Place, played, resident_mb, servers
from tests.campaigns.soak_traffic import INNOCENT, STATIC, numbers
from tests.support.engine import Engine
from tests.support.figures import WHOLE, record
from tests.support.sip import message

TICK_S = 0.002
EVERY = 50
"""Each so many calls one is by a listed caller."""
BUFFER_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Size:
    """Figures of the campaign: calls a second, and for how long."""

    rate: int = 10_000
    seconds: float = 60.0


@dataclass(slots=True)
class Asked:
    """Calls that were sent, their answers by code, and how long they took."""

    sent: int = 0
    wrong: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    ms: list[float] = field(default_factory=list)
    late_ms: float = 0.0


class Asker:
    """One socket of a switch; a thread reads what comes back."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.connect((HOST, port))
        self._socket.settimeout(0.2)
        own = self._socket.getsockname()[1]
        listed, innocent = numbers(STATIC), numbers(INNOCENT)
        self._messages = []
        for turn in range(5_000):
            is_listed = turn % EVERY == 0
            caller = listed[turn % 1_000] if is_listed else innocent[turn]
            via = (f"SIP/2.0/UDP {HOST}:{own};branch=z9hG4bK@@@@@@@@;rport",)
            fields = {"Call-ID": "c@@@@@@@@@campaign"}
            self._messages.append(message(caller, via=via, changed=fields))
        self._began_s: dict[int, float] = {}
        self._stop = threading.Event()

    def ask(self, rate: int, seconds: float) -> Asked:
        """Send so many calls a second, and wait until no answer comes any more."""
        asked = Asked()
        self._stop.clear()
        reader = threading.Thread(target=self._read, args=(asked,))
        reader.start()
        start_s, total = time.monotonic(), int(rate * seconds)
        while asked.sent < total:
            due = min(int((time.monotonic() - start_s) * rate), total)
            for turn in range(asked.sent, due):
                data = self._messages[turn % len(self._messages)]
                self._began_s[turn] = time.monotonic()
                self._socket.send(data.replace(b"@@@@@@@@", b"%08d" % turn))
            late_ms = 1000 * (time.monotonic() - start_s - due / rate)
            asked.late_ms, asked.sent = max(asked.late_ms, late_ms), due
            time.sleep(TICK_S)
        answered = -1
        while answered != sum(asked.codes.values()):
            answered = sum(asked.codes.values())
            time.sleep(2.0)
        self._stop.set()
        reader.join()
        return asked

    def _read(self, asked: Asked) -> None:
        while not self._stop.is_set():
            try:
                answer = self._socket.recv(65_535)
            except TimeoutError:
                continue
            turn = int(answer.partition(b"Call-ID: c")[2][:8])
            began_s = self._began_s.pop(turn, None)
            if began_s is None:
                asked.wrong += 1  # answered twice
                continue
            asked.ms.append(1000 * (time.monotonic() - began_s))
            code = int(answer.split(b" ", 2)[1])
            asked.codes[code] += 1
            asked.wrong += code not in {503, 404 if turn % EVERY else 603}

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def counted(engine: Engine) -> dict[str, float]:
    """Answers by code and what got none by reason, as /metrics says."""
    codes = {code: engine.metric("ringfence_sip_answers_total", code=code) for code in CODES}
    lost = {
        reason: engine.metric("ringfence_sip_unanswered_total", reason=reason)
        for reason in ("flood", "overflow", "not_sent")
    }
    return {**codes, **lost}


CODES = ("404", "603", "503")


def _round(engine: Engine, asker: Asker, rate: int, seconds: float) -> dict[str, Any]:
    before, cpu_s = counted(engine), engine.metric("process_cpu_seconds_total")
    asked = asker.ask(rate, seconds)
    after = counted(engine)
    p50, p99 = np.percentile(asked.ms, (50, 99)) if asked.ms else (0.0, 0.0)
    return {
        "rate": rate,
        "sent": asked.sent,
        "wrong": asked.wrong,
        "codes": {str(code): count for code, count in sorted(asked.codes.items())},
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "sent_late_ms": round(asked.late_ms),
        "counted": {name: after[name] - before[name] for name in after},
        "cpu_percent": round(100 * (engine.metric("process_cpu_seconds_total") - cpu_s) / seconds),
    }


async def run(size: Size, folder: Path, part: str = WHOLE) -> dict[str, Any]:
    """Run both rounds, and record their figures."""
    with servers() as (broker, redis):
        more = f"sip.requests_per_s = {2.0 * size.rate}\n"
        place = Place(folder, broker, redis.url(), more)
        place.site.made()
        await place.list_of("XA/static", numbers(STATIC)[:1_000])
        figures: dict[str, Any] = {}
        for name, limit, rate in (
            ("within", 2.0 * size.rate, size.rate),
            ("beyond", size.rate / 2, int(0.9 * size.rate)),
        ):
            text = place.site.config.read_text()
            old = next(line for line in text.splitlines() if "requests_per_s" in line)
            place.site.config.write_text(text.replace(old, f"sip.requests_per_s = {limit}"))
            with place.running("serve-sip", health="sip-health") as engine:
                asker = Asker(place.ports["sip"])
                try:
                    words = (engine, asker, rate, size.seconds)
                    figures[name] = await asyncio.to_thread(_round, *words)
                finally:
                    asker.close()
                figures[name]["mb"] = resident_mb(engine)
    record("load-sip", figures, part)
    return figures


def right(figures: dict[str, Any]) -> list[str]:
    """Return what is not as it has to be."""
    wrong = []
    for name, one in figures.items():
        dealt_with = sum(one["counted"].values())
        if one["wrong"]:
            wrong.append(f"{name}: {one['wrong']} wrong answers")
        if dealt_with != one["sent"]:
            wrong.append(f"{name}: {one['sent']} were sent, {dealt_with:.0f} are counted")
        if sum(one["codes"].values()) != sum(one["counted"][code] for code in CODES):
            wrong.append(f"{name}: other answers came than were counted")
    if figures["within"]["codes"].get("503"):
        wrong.append("a call within the trunk's rate was answered 503")
    if not figures["beyond"]["codes"].get("503") and not figures["beyond"]["counted"]["overflow"]:
        wrong.append("no call beyond the trunk's rate was answered 503")
    return wrong


def main() -> int:
    """Run the campaign of the options; 1 if something is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=Size().rate, help="calls a second")
    parser.add_argument("--seconds", type=float, default=Size().seconds)
    return played(partial(run, Size(**vars(parser.parse_args()))), right)


if __name__ == "__main__":
    raise SystemExit(main())
