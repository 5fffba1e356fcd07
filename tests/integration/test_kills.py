"""kill -9 of the importer and of a rebuild, at every single step."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.core.filters.snapshot import read_snapshot
from stream.feeds.import_file import import_file
from tests.support.builders import NOW_S
from tests.support.killed_importer import REBUILD
from tests.support.lists import NAME, add, chained, held_numbers, numbers, remove, request, write

OLD, NEW = numbers(300, 1), numbers(310, 2)
STEPS_MIN = 40


class Program:
    """The program whose children die one step later each time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def dies(self, work: object) -> bool:
        """Whether the child that was to do this work died of it; else it did it to the end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer in {"killed", "done 0"}, answer
        return answer == "killed"


@contextmanager
def program(url: str) -> Iterator[Program]:
    command = [sys.executable, "-m", "tests.support.killed_importer", url]
    pipe, root = subprocess.PIPE, Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) as process:
        yield Program(process)
        assert process.stdin is not None
        process.stdin.close()


async def whole(register) -> set[str]:
    """What is on the list, which was found to be in order."""
    await register.heads()  # whatever the dead had sent was done before this is answered
    held = await held_numbers(register)
    head = (await register.heads()).lists[NAME]
    assert head.count == len(held)
    read_snapshot(await register.read_base(NAME, head.base), key=b"")
    await chained(register)
    return held


def left_over(raw) -> set[str]:
    """The bases in Redis that the list does not know of."""
    kept = set(raw.lrange(f"rf:list:{{{NAME}}}:bases", 0, -1))
    return {key.split(":base:")[1].split(":")[0] for key in raw.keys("rf:*:base:*")} - kept


async def test_kill_the_importer_at_every_step(register, raw, redis_url, tmp_path):
    """Wherever the importer dies, the list is wholly the old or wholly the new generation, it can
    be read, its chain is whole; and the next import leaves nothing of those that died.
    """
    files = {"old": write(tmp_path / "old", OLD), "new": write(tmp_path / "new", NEW)}
    content = {"old": set(OLD), "new": set(NEW)}
    await import_file(register, request(files["old"], replace=True), NOW_S)
    now, killed, published, died = "old", 0, 0, True
    with program(redis_url) as importer:
        while died:
            wanted = "old" if now != "old" else "new"
            died = importer.dies(files[wanted])
            held = await whole(register)
            assert held in (content[now], content[wanted]), f"a mix after step {killed}"
            published += died and held == content[wanted]
            now = wanted if held == content[wanted] else now
            killed += died
    assert killed >= STEPS_MIN
    assert published  # some died after it was live, and before they had said so
    assert not left_over(raw)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


async def test_kill_a_rebuild_at_every_step(register, raw, redis_url, tmp_path):
    """Wherever it dies, what is listed is what was listed; and the next one leaves nothing."""
    await import_file(register, request(write(tmp_path / "old", OLD), replace=True), NOW_S)
    await add(register, *NEW[:5])
    await remove(register, *OLD[:5])
    listed, killed = {*OLD[5:], *NEW[:5]}, 0
    with program(redis_url) as rebuilder:
        while rebuilder.dies(REBUILD):
            assert await whole(register) == listed, f"after step {killed}"
            killed += 1
    assert await whole(register) == listed
    assert killed >= STEPS_MIN
    assert not left_over(raw)
