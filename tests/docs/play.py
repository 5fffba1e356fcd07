"""Play a page: do what it shows, in a folder of its own, and compare what is printed.

`python -m tests.docs.play FILE...` plays pages against servers of its own and writes what was
really printed into them: for a change of an output. Look at the difference before you commit.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import redis
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from stream.lab.embedded import best_broker, best_redis
from tests.docs.not_run import QUESTIONS, why_not
from tests.docs.shell import DEADLINE_S, Places, Shell, shell
from tests.docs.transcripts import DOCS_DAY, Command, File, difference, moved, steps

LOOK_S = 1.0
"""A look is a process of a second of CPU: more of them would hold up what they wait for."""


def play(page: Path, folder: Path, places: Places) -> Iterator[tuple[Command, str, str]]:
    """Each command that was run, what it printed as the page would have it, and the difference."""
    days = (datetime.now(UTC).date() - DOCS_DAY).days
    with shell(folder, places) as at:
        for step in steps(page.read_text()):
            if isinstance(step, File):
                path = folder / step.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(places.here(moved(step.text, days)))
                continue
            if why_not(step.text) is not None:
                continue
            printed = _printed(at, step, places, days)
            yield step, printed, difference(step, printed)


def _printed(at: Shell, step: Command, places: Places, days: int) -> str:
    """Return the output of a command; of one that stays or prompts, as soon as it is as shown."""
    text = places.here(moved(step.text, days))

    def shown(output: str) -> str:
        return moved(places.there(output), -days)

    until = time.monotonic() + DEADLINE_S
    job = at.start(text) if step.stays else None
    while True:
        printed = shown(at.run(text) if job is None else job.printed)
        again = job is not None or (step.shown and QUESTIONS.match(step.text))
        if not again or not difference(step, printed) or time.monotonic() > until:
            return printed
        time.sleep(LOOK_S)


async def clean(bootstrap: str) -> None:
    """No topic that pages name is left from a page before; positions go with their topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        named = [name for name in await admin.list_topics() if name.split(".")[0] in _TOPICS]
        for name in named:
            try:
                await admin.delete_topics([name])
            except UnknownTopicOrPartitionError:
                continue
        while set(named) & set(await admin.list_topics()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # the broker tells nobody when a topic is gone
    except KafkaError as error:
        raise AssertionError(f"the broker is not cleaned: {error!r}") from error
    finally:
        await admin.close()


_TOPICS = frozenset({"calls", "decisions"})


def rewritten(text: str, found: list[tuple[Command, str, str]]) -> str:
    """The page with what was printed in the place of what is shown, where they differ."""
    lines = text.split("\n")
    for command, printed, wrong in reversed(found):
        if wrong:
            begin = command.line - 1 + len(command.text.split("\n"))
            lines[begin : begin + len(command.shown)] = [
                line.rstrip() for line in printed.rstrip("\n").split("\n") if printed.strip()
            ]
    return "\n".join(lines)


def main() -> int:
    """Play and write pages."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.play", description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path)
    given = parser.parse_args()
    differing = 0
    with best_broker() as broker, best_redis() as server:
        for page in given.pages:
            asyncio.run(clean(broker.bootstrap))
            for number in (0, 1):
                with redis.Redis.from_url(server.url(number)) as client:
                    client.flushdb()
            with tempfile.TemporaryDirectory() as folder:
                places = Places(Path(folder), broker.bootstrap, server.url(0), server.url(1))
                found = []
                for command, printed, wrong in play(page, Path(folder), places):
                    found.append((command, printed, wrong))
                    if wrong:
                        sys.stdout.write(f"{page}:{command.line}: {command.text}\n{printed}\n")
                        sys.stdout.flush()
            page.write_text(rewritten(page.read_text(), found))
            differing += sum(1 for _, _, wrong in found if wrong)
    return min(differing, 1)


if __name__ == "__main__":
    sys.exit(main())
