"""Scenes in worlds that are broken: a check that cannot fail shows nothing."""

import asyncio
import io
from contextlib import ExitStack

import pytest
from rich.console import Console

from stream.lab.demo.stop import Stop
from stream.lab.exercise import session
from stream.lab.exercise.command import EXIT_FAILED, EXIT_NOT_RUN, Options, outcome
from stream.lab.exercise.scenes import SCENES, ending
from stream.lab.exercise.story import Story, summary
from tests.support import exercise as fakes

OPTIONS = Options(5, (), None, None, "auto", "auto", plain=True)


@pytest.fixture
def worlds(tmp_path, monkeypatch):
    """All scenes, where nothing acts, where everything is blocked, where nothing is decided."""
    monkeypatch.setattr(ending, "NOTICE_S", -3)
    ways = [(fakes.ringing, 0), (fakes.blocking, 7), (fakes.silent, 1)]
    return [fakes.play(tmp_path / answer.__name__, answer, code) for answer, code in ways]


def test_every_scene_fails_in_every_broken_world(worlds):
    """No scene calls good what is not, whichever way it is broken."""
    for story in worlds:
        assert [act.name for act in story.acts] == [scene.name for scene in SCENES]
        assert [act.name for act in story.acts if act.held] == []
        assert not story.held


def test_every_check_of_every_scene_fails_somewhere(worlds):
    """There is no check that holds in all the broken worlds."""
    for acts in zip(*(story.acts for story in worlds), strict=True):
        made = [[finding.expected for finding in act.findings] for act in acts]
        always = [
            expected
            for expected in max(made, key=len)
            if all(
                any(one.expected == expected and one.held for one in act.findings) for act in acts
            )
        ]
        assert always == [], acts[0].name


def test_what_failed_is_told_and_is_exit_code_1(tmp_path, monkeypatch):
    """A broken outcome stands as FAILED on the terminal and in the table, and the command ends
    with 1.
    """
    monkeypatch.setattr(ending, "NOTICE_S", -3)
    printed = io.StringIO()

    def broken(*_: object) -> bool:
        console = Console(file=printed, width=100)
        story = Story(console, plain=True)
        made = fakes.training(tmp_path, fakes.ringing, 0)
        asyncio.run(session.played(made, story, ["gang"]))
        console.print(summary(story, 1.0))
        return story.held

    monkeypatch.setattr(session, "session", broken)
    assert outcome(OPTIONS, ExitStack(), Stop()) == (EXIT_FAILED, "")
    said = printed.getvalue()
    assert "FAILED TH blocks the first of them" in said
    assert "FAILED: gang." in said


def test_an_exercise_that_can_not_be_set_up_is_no_failed_check(monkeypatch):
    """A server that cannot be had is exit code 3 and a line that says so."""

    def none(*_: object) -> bool:
        raise fakes.DemoFailed("no broker")

    monkeypatch.setattr(session, "session", none)
    code, words = outcome(OPTIONS, ExitStack(), Stop())
    assert code == EXIT_NOT_RUN
    assert "no broker" in words


def test_a_scene_that_breaks_off_fails_and_the_next_is_played(tmp_path, monkeypatch):
    """A failed step of a scene fails the scene, gives the reason, and ends no other."""
    made = fakes.training(tmp_path, fakes.ringing, 0)
    story = Story(Console(quiet=True), plain=True)

    async def gone(*_: object) -> None:
        raise OSError("no such place")

    monkeypatch.setattr(made["KH"], "command", gone)
    monkeypatch.setattr(ending, "NOTICE_S", -3)
    asyncio.run(session.played(made, story, ["gang", "leaving"]))
    gang, leaves = story.acts
    assert "no such place" in gang.failed
    assert not gang.held
    assert leaves.findings


def test_scenes_that_need_more_countries_are_told(tmp_path):
    """With three countries Myanmar's pledge is not played, and that is said."""
    made = fakes.training(tmp_path, fakes.ringing, 0)
    three = {iso: made[iso] for iso in ("TH", "KH", "PH")}
    made.ringfences = three
    story = Story(Console(quiet=True), plain=True)
    asyncio.run(session.played(made, story, ["pledge"]))
    assert story.acts == []
    assert "MM" in story.left_out["pledge"]
    assert not story.held
