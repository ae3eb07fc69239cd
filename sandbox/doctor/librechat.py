"""A LibreChat's `.env` beside this server: would its calls be let in?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from keys import environment, tokens
from keys.models import APIKey, Issuer, KeyScope
from keys.public_keys import InvalidKeys
from keys.secret import digest, prefix_of
from keys.tokens import TokenRefused
from sandbox.findings import Finding, fail, ok, skip, warn
from sandbox.librechat.dotenv import API_KEY, BASE_URL, DotEnv, InvalidPrivateKey
from sandbox.librechat.releases import Release
from sandbox.librechat.tokens import sign

# In order of time: what differs between the two is how a call says whose it is.
LAST_WITH_KEY, FIRST_WITHOUT = Release.of("0.8.5"), Release.of("0.8.6")
PATHS = ("", "v1", "run/exec")


def check(path: Path, version: str, has_database: bool) -> Iterator[Finding]:
    """Without a version, for those that send a key and for those that do not."""
    try:
        dotenv = DotEnv.read(path)
    except UnicodeDecodeError:
        yield fail("librechat.env", f"{path} is no text", "Give LibreChat's own .env file.")
        return
    if not path.is_file():
        yield fail("librechat.env", f"there is no file {path}", "Give LibreChat's own .env file.")
        return
    yield from _check_url(dotenv)
    yield from _check_proxy(dotenv)
    releases = [Release.of(version)] if version else [LAST_WITH_KEY, FIRST_WITHOUT]
    for release in releases:
        yield _check_way_in(dotenv, release, is_asked_for=bool(version))
    for name, secret in (("key", dotenv.get(API_KEY)), ("key_in_url", dotenv.key_in_url)):
        # With signed calls, and up to 0.8.5 with a key in the URL, it can be any text.
        if secret and not (name == "key" and (dotenv.key_in_url or dotenv.signs)):
            yield from check_secret(f"librechat.{name}", secret, has_database)
    if dotenv.signs:
        yield from _check_signing(dotenv, has_database)
    elif any(name.startswith("CODEAPI_JWT_PRIVATE") for name in dotenv.values):
        yield warn(
            "librechat.signing",
            "there is a private key, but signing is off",
            "Set CODEAPI_JWT_ENABLED=true, or remove the key.",
        )


def _check_url(dotenv: DotEnv) -> Iterator[Finding]:
    check, url = "librechat.url", dotenv.url
    if not dotenv.get(BASE_URL):
        text = f"{BASE_URL} is not set: LibreChat calls its own maker's server"
        yield fail(check, text, f"Set {BASE_URL}=http://<this host>:8000/run/exec")
        return
    if url.scheme not in ("http", "https") or not url.hostname:
        text = f"{BASE_URL} is no address of a server"
        yield fail(check, text, "Write http://<this host>:8000/run/exec")
        return
    path = url.path.strip("/")
    first, _, rest = path.partition("/")
    if first == "k":
        _, _, path = rest.partition("/")
    if path not in PATHS:
        advice = "End it in /run/exec, in /v1 or in nothing: LibreChat puts /exec and the rest on."
        yield fail(check, f"{BASE_URL} ends in /{path}, where nothing is", advice)
        return
    if url.username and not url.password:
        advice = "Write http://any:<key>@<this host>:8000/run/exec"
        yield fail(check, "the URL has a user name without a password", advice)
        return
    if url.query or url.fragment:
        yield fail(check, "the URL has a query: LibreChat puts paths behind it", "Leave it out.")
        return
    if _is_loopback(url.hostname):
        yield warn(
            check,
            f"{url.hostname} is LibreChat's own machine, or its own container",
            "From a container write host.docker.internal, or this server's name.",
        )
    else:
        yield ok(check, f"{url.scheme}://{url.hostname}:{url.port or '(default)'}/{path}")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _check_proxy(dotenv: DotEnv) -> Iterator[Finding]:
    if dotenv.get("PROXY") and dotenv.url.hostname not in dotenv.get("NO_PROXY").split(","):
        text = "LibreChat has a PROXY, which its calls for this server go through as well"
        yield warn("librechat.proxy", text, "Exempt this host from it.")


def _check_way_in(dotenv: DotEnv, release: Release, *, is_asked_for: bool) -> Finding:
    name = str(release) if is_asked_for else "≤0.8.5" if release.sends_key else "≥0.8.6"
    check = f"librechat.{name}"
    # Of a version that nobody has asked about, it is only good to know.
    wrong = fail if is_asked_for else warn
    if release.sends_key:
        if not dotenv.get(API_KEY):
            text = f"{API_KEY} is empty: each user is asked for a key of their own"
            return wrong(check, text, f"Set it, to any text if the key is in {BASE_URL}.")
        return ok(check, "sends its key")
    if dotenv.signs:
        return ok(check, "signs its calls")
    if dotenv.key_in_url:
        if release.shows_url_of_errors or not is_asked_for:
            return warn(
                check,
                "sends the key in the URL, which 0.8.6 and 0.8.7 show to users when a call fails",
                "Have LibreChat sign its calls, see “Signed calls” in the README.",
            )
        return ok(check, "sends the key in the URL")
    if settings.KEYS_TRUSTED_NETWORKS:
        networks = ", ".join(settings.KEYS_TRUSTED_NETWORKS)
        return ok(check, f"sends no key, which {networks} may")
    return wrong(
        check,
        f"sends no key: {API_KEY} has no effect from 0.8.6 on",
        f"Set {BASE_URL}=http://any:<key>@<this host>:8000/run/exec, or have it sign its calls.",
    )


def check_secret(check: str, secret: str, has_database: bool) -> Iterator[Finding]:
    if not has_database:
        yield skip(check, "keys cannot be looked up without the database")
        return
    new_key = "Make one: manage.py createapikey NAME"
    key = APIKey.objects.filter(prefix=prefix_of(secret) or "-").exclude(digest="").first()
    if key is None:
        text = "it is none of this server's keys, or was cut when it was copied"
        yield fail(check, text, new_key)
        return
    beginning = f"lci_{key.prefix}… ({key})"
    if APIKey.authenticate(secret) is None:
        state = key.state
        text = state if state != "usable" else "its secret was rotated, or is not this one"
        yield fail(check, f"{beginning}: {text}", new_key)
        return
    if missing := set(KeyScope.values) - set(key.scopes):
        text = f"{beginning} is not good for: {', '.join(sorted(missing))}"
        yield fail(check, text, "LibreChat needs both scopes: add them in the admin.")
        return
    if key.networks:
        text = f"{beginning} is good from {', '.join(key.networks)} only"
        yield warn(check, text, "See that LibreChat calls from there, and through no proxy.")
        return
    if digest(secret) != key.digest:
        advice = "Put the new secret into LibreChat's .env before the old one ends."
        yield warn(check, f"{beginning} is the former secret, until {key.former_until}", advice)
        return
    yield ok(check, f"{beginning} is valid")


def _check_signing(dotenv: DotEnv, has_database: bool) -> Iterator[Finding]:
    check = "librechat.signing"
    try:
        private = dotenv.private_key()
    except InvalidPrivateKey as error:
        yield fail(check, f"LibreChat's private key: {error}", "manage.py librechat 0.8.6 --jwt")
        return
    try:
        token = sign(
            private,
            algorithm=dotenv.algorithm,
            kid=dotenv.kid,
            issuer=dotenv.issuer,
            audience=dotenv.audience,
            ttl_seconds=dotenv.ttl_seconds,
        )
    except (ValueError, TypeError, NotImplementedError):
        advice = "EdDSA, the default, is for Ed25519; an RSA key needs CODEAPI_JWT_ALGORITHM=RS256"
        yield fail(check, f"the private key is not one for {dotenv.algorithm}", advice)
        return
    if not has_database and not environment.is_configured():
        yield skip(check, "issuers cannot be looked up without the database")
        return
    yield _verify(token, has_database)


def _verify(text: str, has_database: bool) -> Finding:
    check = "librechat.signing"
    issuers = list(Issuer.objects.all()) if has_database else []
    if environment.is_configured() and not any(issuer.from_environment for issuer in issuers):
        issuers.append(Issuer(from_environment=True, name="LibreChat"))
    try:
        token = tokens.read(text)
    except TokenRefused as error:
        return fail(check, f"its tokens: {error}", "See the table “What you see” in the README.")
    reason, advice = f"no issuer here is named {token.issuer!r}", "Add one in the admin."
    for issuer in issuers:
        try:
            if issuer.issuer != token.issuer:
                continue
            tokens.verify(token, issuer.keys(), audience=issuer.audience)
        except (TokenRefused, InvalidKeys) as error:
            reason = f"{issuer.name}: {error}"
            advice = (
                "The public key here must be that of LibreChat's private one, under the same kid "
                "and audience: openssl pkey -in codeapi.pem -pubout"
            )
            continue
        if not issuer.enabled:
            return fail(check, f"issuer {issuer.name} is turned off", "Turn it on in the admin.")
        return ok(check, f"its tokens are those of the issuer {issuer.name}")
    return fail(check, f"its tokens are refused: {reason}", advice)
