"""Transcripts that the test does not run unchanged: the complete list, with reasons."""

import re
from typing import Final

NOT_RUN: Final = {
    r"make setup\b.*": "the test runs in the environment that it made",
    r"make (demo|test)": "tests/integration/test_demo.py runs the demo; this is a test",
    r"sudo .*": "the machine's own files; tests/integration/test_kamailio.py runs the proxy",
}
"""Pattern of a whole command -> why it is not run, and where it is."""

SHIMS: Final = ("kafka-console-producer.sh", "kafka-console-consumer.sh")
"""Programs of Kafka's that the test plays itself: `shims.py`."""

QUESTIONS: Final = re.compile(
    r"(ringfence (why|decisions|top|doctor|audit|traceback)\b"
    r"|ringfence [\w-]+( [\w-]+)? (ls|list|show|status|held|history|explain|check)\b"
    r"|curl -s (?!.*--data)|redis-cli .*(HGETALL|HMGET|HGET|EXISTS|TTL|KEYS)\b)"
)
"""Commands that only ask: they are asked again until the answer is the one that is shown."""


def why_not(text: str) -> str | None:
    """Why a command is not run; None: it is."""
    for pattern, reason in NOT_RUN.items():
        if re.fullmatch(pattern, text, re.DOTALL):
            return reason
    return None
