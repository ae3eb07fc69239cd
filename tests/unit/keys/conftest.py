from __future__ import annotations

import pytest

from keys.models import Issuer
from tests.tokens import Signer


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer()


@pytest.fixture(scope="session")
def rsa_signer() -> Signer:
    return Signer.rsa()


@pytest.fixture
def issuer(db: None, signer: Signer) -> Issuer:
    return Issuer.objects.create(name="Chat", public_keys=signer.pem)
