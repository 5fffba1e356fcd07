"""kill -9 of the importer, at every single step of an import."""

import subprocess
import sys
from pathlib import Path

from stream.core.snapshot import read_snapshot
from stream.lists.ingest import import_file
from tests.builders import NOW_S
from tests.integration.lists_lab import NAME, chained, held_numbers, numbers, request, write

OLD, NEW = numbers(300, 1), numbers(310, 2)
STEPS_MIN = 40


async def test_kill_at_every_step(register, raw, redis_url, tmp_path):
    """Wherever the importer dies, the list is wholly the old or wholly the new generation, it can
    be read, its chain is whole; and the next import leaves nothing of those that died.
    """
    files = {"old": write(tmp_path / "old", OLD), "new": write(tmp_path / "new", NEW)}
    content = {"old": set(OLD), "new": set(NEW)}
    await import_file(register, request(files["old"], replace=True), NOW_S)
    now, killed, published = "old", 0, 0
    command = [sys.executable, "-m", "tests.integration.killed_importer", redis_url]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        while True:
            wanted = "old" if now != "old" else "new"
            program.stdin.write(f"{files[wanted]}\n")
            program.stdin.flush()
            answer = program.stdout.readline().split()
            await register.heads()  # whatever the dead had sent was done before this is answered
            held = await held_numbers(register)
            assert held in (content[now], content[wanted]), f"a mix after step {killed}"
            published += held == content[wanted] and answer == ["killed"]
            now = wanted if held == content[wanted] else now
            head = (await register.heads()).lists[NAME]
            assert head.count == len(held)
            read_snapshot(await register.read_base(NAME, head.base), key=b"")
            await chained(register)
            if answer != ["killed"]:
                break
            killed += 1
        program.stdin.close()
    assert answer == ["done", "0"]
    assert killed >= STEPS_MIN
    assert published  # some died after it was live, and before they had said so
    kept = set(raw.lrange(f"rf:list:{{{NAME}}}:bases", 0, -1))
    bases = {key.split(":base:")[1].split(":")[0] for key in raw.keys("rf:*:base:*")}
    assert bases == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]
