from __future__ import annotations

import random
import re

import pytest

from audit.ids import is_id, new_id
from audit.models import Execution, SandboxContainer, SandboxFile, SandboxSession


def test_an_id_has_the_shape_that_librechat_checks() -> None:
    for _ in range(200):
        assert re.fullmatch(r"[A-Za-z0-9_-]{21}", new_id())


def test_all_64_characters_occur() -> None:
    assert len(set("".join(new_id() for _ in range(500)))) == 64


def test_ids_do_not_repeat() -> None:
    assert len({new_id() for _ in range(2000)}) == 2000


def test_a_new_id_is_an_id() -> None:
    assert is_id(new_id())


@pytest.mark.parametrize(
    "text", ["", "a" * 20, "a" * 22, "a" * 20 + "\n", "a" * 20 + "/", "a" * 20 + "ä", "." * 21]
)
def test_nothing_else_is(text: str) -> None:
    assert not is_id(text)


def test_they_come_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all the bytes that `secrets` gives: what is not random could be foreseen."""
    asked: list[int] = []

    def token_bytes(number: int) -> bytes:
        asked.append(number)
        return bytes(range(number))

    monkeypatch.setattr("audit.ids.secrets.token_bytes", token_bytes)
    assert new_id() == "abcdefghijklmnopqrstu"
    assert asked == [21]


def test_whatever_was_random_before_they_differ() -> None:
    random.seed(1)
    first = new_id()
    random.seed(1)
    assert new_id() != first


def test_every_model_that_clients_name_has_such_an_id() -> None:
    for model in (SandboxSession, SandboxFile, Execution, SandboxContainer):
        assert model._meta.pk.default is new_id, model
