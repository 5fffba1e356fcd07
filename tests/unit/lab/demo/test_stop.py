import asyncio
import os
import signal

import pytest

from stream.lab.demo.stop import SIGNALS, Interrupted, Stop


@pytest.fixture
def stop():
    """A Stop that listens, and pytest's own handlers back afterwards."""
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    made = Stop()
    made.listen()
    yield made
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_interrupts_what_runs_without_a_loop(stop, signum):
    """While servers start, a signal is raised at once and says which exit code follows."""
    with pytest.raises(Interrupted) as interrupted:
        os.kill(os.getpid(), signum)
    assert interrupted.value.code == 128 + signum


def test_a_second_signal_does_not_interrupt_the_clearing_up(stop):
    """The first signal cancels the work; its clearing up goes on through the second."""
    steps = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(30)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.01)
            steps.append("cleared up")

    with pytest.raises(Interrupted) as interrupted:
        stop.run(work())
    assert interrupted.value.code == 130
    assert steps == ["cleared up"]


def test_work_that_nobody_interrupts_gives_its_value(stop):
    """Without a signal `run` is `asyncio.run`, and errors of the work are its own."""

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    async def broken() -> int:
        raise ValueError("mine")

    assert stop.run(work()) == 7
    with pytest.raises(ValueError, match="mine"):
        stop.run(broken())


def test_when_only_clearing_up_is_left_no_signal_is_heard(stop):
    """After `go_deaf` a signal changes nothing at all."""
    stop.go_deaf()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
