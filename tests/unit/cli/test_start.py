"""Modules that a command loads before it runs: only those that it needs."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from stream import __main__ as start
from stream.cli.main import COMMANDS, app
from stream.core.model.errors import UNUSABLE

DRAW = {
    *("typer", "shellingham", "annotated_doc", "typing_extensions"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_inspection"),
    *("rich", "markdown_it", "mdurl", "pygments", "attr"),
    "msgspec",
    "sitecustomize",  # Debian's own Python has one, of its crash reporter
}
"""Outside packages that may be loaded to print a version or to list commands: typer, which reads
words with pydantic, rich, which draws, and msgspec, which our faults name."""
OURS = {
    "stream",
    "stream.__main__",
    "stream.cli",
    "stream.cli.lazy_group",
    "stream.cli.main",
    "stream.cli.options",
    "stream.cli.output",
    "stream.core",
    "stream.core.model",
    "stream.core.model.csv_cells",
    "stream.core.model.errors",
    "stream.ops",
    "stream.ops.stdin_arguments",
}
SERVERS = {"aiohttp", "aiokafka", "fastapi", "prometheus_client", "redis", "tuf", "uvicorn"}
"""From 0.1 s of CPU each: for commands that ask such a server, or are one."""
NEVER = {"numba", "opentelemetry.exporter", "phonenumbers.geodata"}
"""From 0.3 s and 40 MB each: for a worker, when it needs them."""
SHOWN = (
    "import sys, atexit; atexit.register(lambda: print('LOADED', *sys.modules, file=sys.stderr))"
)


def loaded_by(*words: str, **environ: str) -> set[str]:
    """The modules that `ringfence WORDS` has loaded at its end."""
    code = f"{SHOWN}; sys.argv[0] = 'ringfence'; from stream.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environ,
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("LOADED "), done.stderr
    return set(last.split()[1:])


def top_level(modules: set[str]) -> set[str]:
    """Packages from outside, without the standard library and private modules."""
    tops = {name.partition(".")[0] for name in modules}
    return {top for top in tops - sys.stdlib_module_names if not top.startswith("_")} - {"stream"}


def cpuinfo(flags: str) -> str:
    """A processor as Linux describes it."""
    return f"processor\t: 0\nmodel name\t: QEMU\nflags\t\t: {flags}\nbugs\t\t:\n\n"


def test_a_processor_that_numpy_would_end_on_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model `kvm64` of virtual machines: SIGILL, without a word, before."""
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo("fpu sse sse2 cx16 lahf_lm pni"))
    monkeypatch.setattr(start, "CPUS", str(file))
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    with pytest.raises(SystemExit) as ended:
        start.main()
    assert ended.value.code == UNUSABLE
    assert "has no popcnt, sse4_1, sse4_2, ssse3, which" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("machine", "text"),
    [
        ("x86_64", cpuinfo("fpu cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3")),
        ("x86_64", cpuinfo("fpu " * 4000)),  # longer than what is read of it
        ("x86_64", "processor: 0"),
        ("aarch64", cpuinfo("fp asimd")),
    ],
)
def test_other_processors_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, text: str
) -> None:
    """Where nothing can be known nothing is refused."""
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    monkeypatch.setattr(start, "CPUS", str(file))
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=machine))
    assert not start.lacked()


COMPLETES = {
    "_RINGFENCE_COMPLETE": "complete_bash",
    "COMP_WORDS": "ringfence li",
    "COMP_CWORD": "1",
}


@pytest.mark.parametrize(
    ("words", "environ"),
    [(["--version"], {}), (["--help"], {}), ([], COMPLETES), (["nothing"], {})],
)
def test_what_names_commands_loads_none(words: list[str], environ: dict[str, str]) -> None:
    """A version, the help, a completion and a wrong name come without a single command."""
    loaded = loaded_by(*words, **environ)
    assert {name for name in loaded if name.partition(".")[0] == "stream"} <= OURS
    assert top_level(loaded) <= DRAW


@pytest.mark.parametrize(
    ("words", "may"),
    [
        (["check-config"], ""),
        (["token", "list"], ""),
        (["dialects", "list"], ""),
        (["decisions", "--help"], "aiokafka"),
        (["lists", "show", "--help"], "redis"),
        (["audit", "--help"], "redis"),
        (["allow", "list", "--help"], "redis"),
        (["why", "--help"], "redis aiokafka"),
    ],
)
def test_a_light_command_loads_only_the_clients_it_needs(words: list[str], may: str) -> None:
    """No client of a server that it does not ask, and no server."""
    loaded = loaded_by(*words)
    assert loaded & SERVERS <= set(may.split())
    assert not loaded & NEVER


def test_why_loads_what_decides_only_when_the_list_store_answers(tmp_path: Path) -> None:
    """Redis and Kafka are addresses where nobody listens: `why` ends where it would ask them."""
    config = tmp_path / "nobody.toml"
    config.write_text(
        f'[redis]\nurl = "redis://127.0.0.1:1/0"\n[lists]\nstate_dir = "{tmp_path / "state"}"\n'
    )
    loaded = loaded_by("why", "+447700900123", "--config", str(config), "--timeout", "0.1")
    late = ("stream.insight", "stream.calls.decide", "stream.feeds.formats", "aiokafka")
    assert not {name for name in loaded if name.startswith(late)}


def test_no_command_loads_what_only_a_worker_needs() -> None:
    """Not even all of them together; workers would carry it, too."""
    modules = sorted({one for entry in COMMANDS.values() for one in entry.modules()})
    code = f"import sys; from importlib import import_module; [import_module(m) for m in {modules}]"
    code += f"; print(sorted({NEVER | {'fastapi', 'uvicorn'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("services", "may"),
    [
        ("worker supervisor sip feeds ingest redis_sink webhook_sink", ""),
        ("exchange enforcement", "tuf"),
    ],
)
def test_no_service_loads_what_it_seldom_needs(services: str, may: str) -> None:
    """Rich is for terminals, LLVM for kernels not linked yet, the others for `ringfence serve`.

    What several load together is at least what each of them loads: they share a process.
    """
    code = f"import sys; {'; '.join(f'import stream.services.{one}' for one in services.split())}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    seldom = NEVER | {"rich", "llvmlite", "fastapi", "uvicorn", "pydantic", "babel", "tuf"}
    assert seldom & set(done.stdout.split()) <= set(may.split())


def test_no_process_looks_for_garbage_when_it_ends() -> None:
    """It would take 0.1 s of a command's CPU, and 0.3 s of a worker's."""
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 10_000)); "
    code += "from stream.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "True"


def test_what_a_terminal_cannot_show_is_escaped() -> None:
    """An older terminal gets the row with a code for each character that it lacks, no traceback."""
    code = "import stream.cli.main as made; made.app = lambda: print('a \u0e01 \u00e9'); "
    code += "from stream.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
    )
    assert done.stdout == rb"a \u0e01 " + b"\xe9\n"


ROOT: Any = typer.main.get_command(app)


def test_the_table_says_what_the_commands_say() -> None:
    """A command's line in `ringfence --help` begins its own help; a group's is all its help."""
    for name, entry in COMMANDS.items():
        own = " ".join((ROOT.get_command(None, name).help or "").split("\n\n")[0].split())
        assert own == entry.line, name


def test_each_command_has_one_place() -> None:
    """No two modules of a group have a command of the same name: the second would be lost."""
    for entry in COMMANDS.values():
        if len(entry.targets) > 1:
            names: list[str] = []
            for target in entry.targets:
                module, _, attribute = target.partition(":")
                part: Any = typer.main.get_group(getattr(import_module(module), attribute))
                names += part.commands
            assert len(names) == len(set(names)), entry.name


def test_a_name_is_completed_without_loading_its_command() -> None:
    """`ringfence li<TAB>` offers `lists`."""
    done = subprocess.run(
        [sys.executable, "-c", "from stream.cli.main import app; app(prog_name='ringfence')"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | COMPLETES,
    )
    assert done.stdout.split() == ["lists"]
