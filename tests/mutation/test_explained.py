"""The explained mutants, and what mutmut makes of the modules that decide."""

from pathlib import Path

from tests.mutation.subjects import SUBJECTS, explanations, mutants_of
from tests.support.figures import ROOT


def test_each_explanation_is_of_a_mutant() -> None:
    """A reason goes when its line goes; what is written instead needs a test or a reason again."""
    wanted = explanations()
    modules = sorted({module for module, _, _, _ in wanted})
    made = {mutant.key for module in modules for mutant in mutants_of(Path(module))}
    assert wanted.keys() - made == set()
    assert all(why.endswith(".") for why in wanted.values())


def test_each_subject_has_its_modules_and_tests() -> None:
    """A module or a test that moved is not left out in silence."""
    for name, subject in SUBJECTS.items():
        found = [sorted(ROOT.glob(pattern)) for pattern in (*subject.modules, *subject.tests())]
        assert all(found), name


def test_mutants_are_named_as_mutmut_does() -> None:
    """By function and number; a method has its class."""
    first = next(mutants_of(Path("stream/kafka/offsets.py")))
    module, _, name = first.name.rpartition(".")
    assert (module, name) == ("stream.kafka.offsets", "xǁCommitProgressǁ__post_init____mutmut_1")
    assert first.function == "CommitProgress.__post_init__"
