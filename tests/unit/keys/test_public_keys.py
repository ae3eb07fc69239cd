from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey

from keys.public_keys import InvalidKeys, parse
from tests.tokens import KID, Signer, jwks


def named(text: str) -> list[tuple[str, str]]:
    return [(key.kid, key.algorithm) for key in parse(text)]


def pem_of(private: ec.EllipticCurvePrivateKey | Ed448PrivateKey) -> str:
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def test_pem_of_both_kinds(signer: Signer, rsa_signer: Signer) -> None:
    assert named(signer.pem) == [(KID, "EdDSA")]
    assert named(rsa_signer.pem) == [(KID, "RS256")]


def test_several_pem_with_names_above_them(signer: Signer, rsa_signer: Signer) -> None:
    text = f"kid: one\n{signer.pem}\nsome words\n  kid:  two \r\n{rsa_signer.pem}{signer.pem}"
    assert named(text) == [("one", "EdDSA"), ("two", "RS256"), (KID, "EdDSA")]


def test_pem_in_one_line_as_in_an_env_file(signer: Signer) -> None:
    assert parse(signer.pem.replace("\n", "\\n")) == parse(signer.pem)


def test_a_jwks_and_a_single_jwk(signer: Signer, rsa_signer: Signer) -> None:
    assert named(jwks(signer, Signer(rsa_signer.private, "r"))) == [(KID, "EdDSA"), ("r", "RS256")]
    unnamed = {name: value for name, value in signer.jwk.items() if name != "kid"}
    assert named(json.dumps(unnamed)) == [(KID, "EdDSA")]


def test_what_openssl_makes(tmp_path: Path) -> None:
    """The lines of the README."""
    private = tmp_path / "codeapi.pem"
    make = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)]
    subprocess.run(make, check=True, capture_output=True)
    show = ["openssl", "pkey", "-in", str(private), "-pubout"]
    shown = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    (key,) = parse(shown)
    der = ["openssl", "pkey", "-in", str(private), "-pubout", "-outform", "DER"]
    raw = subprocess.run(der, check=True, capture_output=True).stdout
    digest = subprocess.run(["sha256sum"], input=raw, check=True, capture_output=True).stdout
    assert digest.decode().startswith(key.fingerprint)
    with pytest.raises(InvalidKeys, match="private key"):
        parse(private.read_text())


def refused() -> dict[str, tuple[str, str]]:
    signer = Signer()
    symmetric = {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}
    return {
        "nothing": ("", "No public key"),
        "something else": ("ssh-ed25519 AAAAC3Nz me@host", "No public key"),
        "a private key": (signer.private_pem, "That is a private key"),
        "a private RSA key": (Signer.rsa().private_pem, "That is a private key"),
        "a private JWK": (json.dumps(signer.jwk | {"d": "AA"}), "That is a private key"),
        "a short RSA key": (Signer.rsa(1024).pem, "has 1024 bits; at least 2048"),
        "a short RSA JWK": (json.dumps(Signer.rsa(1024).jwk), "has 1024 bits; at least 2048"),
        "another curve": (pem_of(ec.generate_private_key(ec.SECP256R1())), "neither an Ed25519"),
        "Ed448": (pem_of(Ed448PrivateKey.generate()), "neither an Ed25519"),
        "a shared secret": (json.dumps(symmetric), "neither an Ed25519"),
        "a certificate": (
            "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----",
            "openssl x509",
        ),
        "broken PEM": (signer.pem.replace("M", "N", 1), "cannot be read"),
        "broken JSON": ("{", "not valid JSON"),
        "deep JSON": ('{"keys":' + "[" * 100_000, "not valid JSON"),
        "no list": ('{"keys": {}}', "is not a list"),
        "an empty list": ('{"keys": []}', "No public key"),
        "no object": ('{"keys": [1]}', "is not an object"),
        "no kid": (json.dumps({"keys": [{"kty": "OKP"}]}), 'no "kid"'),
        "half a JWK": (json.dumps({"kty": "OKP", "kid": "a", "crv": "Ed25519"}), "cannot be read"),
        "a wrong alg": (json.dumps(signer.jwk | {"alg": "HS256"}), "only EdDSA and RS256"),
    }


@pytest.mark.parametrize("name", refused())
def test_what_is_no_such_key_is_refused_and_says_why(name: str) -> None:
    text, reason = refused()[name]
    with pytest.raises(InvalidKeys, match=reason):
        parse(text)
