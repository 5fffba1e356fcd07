"""One embedded server with its guard: tried on small programs, without a broker."""

import socket
import sys
from pathlib import Path

import pytest

from stream.lab.embedded.guarded_server import (
    Server,
    StartFailed,
    answers_metadata,
    answers_ping,
    free_ports,
    new_folder,
)

LISTENS = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(60)
"""


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True


def server(program: str, *, ready_s_max: float = 10.0) -> Server:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", program, str(port)]
    folder = new_folder("test")
    return Server("Tried 1.0", port, folder, command, listens, ready_s_max=ready_s_max)


def test_it_starts_stops_and_starts_again_at_one_port() -> None:
    """Stop and kill end the program, start brings it back at the same port and folder."""
    with server(LISTENS) as tried:
        assert not listens(tried.port)
        for end in (tried.stop, tried.kill):
            tried.start()
            assert tried.is_running()
            assert listens(tried.port)
            end()
            assert not tried.is_running()
            assert not listens(tried.port)
        assert tried.folder.exists()
    assert not tried.folder.exists()


def test_a_program_that_ends_at_once_fails_with_its_last_words() -> None:
    """The engineer sees what the server itself said, without looking for a log file."""
    with (
        server("import sys; sys.exit('no room left')") as tried,
        pytest.raises(StartFailed) as told,
    ):
        tried.start()
    assert "Tried 1.0 exited 1" in str(told.value)
    assert "no room left" in str(told.value)


def test_a_program_that_never_answers_fails_in_time() -> None:
    """Waiting ends, and says for how long it waited."""
    silent = server("import time; time.sleep(60)", ready_s_max=0.3)
    with silent, pytest.raises(StartFailed, match=r"did not answer within 0\.3 s"):
        silent.start()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("no-such-program", "Tried 1.0 cannot start: no-such-program: No such file or directory"),
        ("/nonexistent/program", "cannot start: /nonexistent/program: No such file or directory"),
        ("/etc/passwd", "cannot start: /etc/passwd: Permission denied"),
    ],
)
def test_a_program_that_cannot_be_run_is_named(program: str, told: str) -> None:
    """A missing program is a StartFailed that names it and says what helps; its folder goes."""
    (port,) = free_ports(1)
    tried = Server("Tried 1.0", port, new_folder("test"), [program], listens)
    with tried:
        for _ in range(2):
            with pytest.raises(StartFailed, match=f"{told}. Install it, or add its folder to PATH"):
                tried.start()
    assert not tried.folder.exists()


def test_close_may_be_called_twice() -> None:
    """A second close does nothing."""
    tried = server(LISTENS)
    tried.close()
    tried.close()


def test_a_program_that_ignores_sigterm_is_ended_by_force() -> None:
    """Stop has a deadline."""
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{LISTENS}"
    with server(stubborn) as tried:
        tried.start()
        tried.stop(0.2)
        assert not tried.is_running()


def test_a_closed_port_answers_nothing() -> None:
    """Readiness is False, and no exception, where nobody listens."""
    (port,) = free_ports(1)
    assert not answers_metadata(port)
    assert not answers_ping(port)


def test_free_ports_are_different() -> None:
    """Two ports asked for together are two ports."""
    assert len(set(free_ports(5))) == 5


def test_the_guard_needs_nothing_but_the_standard_library() -> None:
    """It runs isolated (-I -S), so that it starts in milliseconds and under any environment."""
    source = (Path(__file__).parents[4] / "stream/lab/embedded/guard.py").read_text()
    assert "stream" not in [line.split()[1] for line in source.splitlines() if "import" in line[:7]]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_somebody_has_is_not_free(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By TCP or UDP: SIP is both. They lie below the ports of outgoing connections."""
    # Not one that the kernel gives: it may give its twin, of TCP or UDP, to a neighbour meanwhile.
    (port,) = free_ports(1)
    assert port < 32_768
    with socket.socket(type=kind) as held:
        held.bind(("127.0.0.1", port))
        monkeypatch.setattr("stream.lab.embedded.guarded_server._PORTS", range(port, port + 1))
        with pytest.raises(StartFailed, match="no 1 ports between"):
            free_ports(1)
    assert free_ports(1) == [port]


LEAVES_A_FILE = """
import socket, sys, tempfile, time
tempfile.mkstemp(prefix="ringfence-left-")
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(60)
"""


def test_temporary_files_of_a_killed_program_go_with_its_folder() -> None:
    """It could not remove them itself."""
    with server(LEAVES_A_FILE) as tried:
        tried.start()
        tried.kill()
        (left,) = tried.folder.glob("ringfence-left-*")
    assert not left.exists()
