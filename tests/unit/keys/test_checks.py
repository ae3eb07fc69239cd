from __future__ import annotations

import pytest
from pytest_django import Settings

from keys.checks import trusted_networks


@pytest.mark.parametrize("text", ["10.0.3.0/24", "127.0.0.1", "::1/128", "0.0.0.0/0"])
def test_a_network_passes(settings: Settings, text: str) -> None:
    settings.KEYS_TRUSTED_NETWORKS = [text]
    assert trusted_networks(None) == []


@pytest.mark.parametrize("text", ["", "librechat", "10.0.3.7/24", "10.0.3.0/33", "10.0.3"])
def test_a_malformed_network_is_an_error(settings: Settings, text: str) -> None:
    settings.KEYS_TRUSTED_NETWORKS = ["10.0.0.0/8", text]
    (message,) = trusted_networks(None)
    assert message.id == "keys.E001"
    assert repr(text) in message.msg
    assert message.hint


def test_the_check_is_registered(settings: Settings) -> None:
    from django.core.checks import run_checks

    settings.KEYS_TRUSTED_NETWORKS = ["nowhere"]
    assert "keys.E001" in {message.id for message in run_checks()}
