"""One corpus of programs, each with a plain interpreter and with the zygote's: only the time that
they take may differ."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.corpus import Program, programs
from tests.differential.sides import Side, differences

PROGRAMS = list(programs())


def marks(program: Program) -> list[pytest.MarkDecorator]:
    if not program.differs:
        return []
    return [pytest.mark.xfail(reason=program.differs, strict=True)]


@pytest.fixture(scope="module")
def ours() -> Iterator[Side]:
    with Side() as side:
        yield side


@pytest.fixture(scope="module")
def plain() -> Iterator[Side]:
    with Side("--plain") as side:
        yield side


@pytest.mark.parametrize(
    "program",
    [pytest.param(program, id=program.name, marks=marks(program)) for program in PROGRAMS],
)
def test_a_program_cannot_tell_which_interpreter_it_has(
    program: Program, ours: Side, plain: Side
) -> None:
    expected = plain.observe(program)
    assert expected.reason == "exit", "the program does not end"
    before = ours.served_count()
    told = differences(expected, ours.observe(program))
    assert not told, "\n".join(told)
    after = ours.served_count()
    if program.served is not None:
        assert (after > before) == program.served


def test_the_corpus_is_large_and_each_program_in_it_has_a_name_of_its_own() -> None:
    names = {program.name for program in PROGRAMS}
    assert len(names) == len(PROGRAMS) >= 200
