"""How often a wrong credential came from one address, or for one key, within a window of time.

Counted in Postgres, so for all processes together, and only what was wrong: nothing is written for
a right key, and a right key is never refused. REST framework's throttles run after authentication,
so they never see a wrong key, and in whichever cache they count it is by reading a list and writing
it back, where concurrent requests overwrite each other.

Who fails is hashed into a fixed number of buckets. So strangers who make up addresses and prefixes
cannot make the table grow, unknown prefixes are treated as known ones are, and no address is kept.
Two that share a bucket share its count, which only tells who fails anyway.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F
from django.utils.crypto import salted_hmac

from keys.models import Failure

# Of each kind; a row takes about 60 bytes.
BUCKETS = 2**16
IPV6_PREFIX = 64

# One statement, which judges by what was before it. What is over the limit is not written again, or
# a flood of wrong keys would be a flood of writes; and so a window always ends.
COUNT = """
    WITH failed AS (
        SELECT * FROM unnest(%(buckets)s::text[], %(times)s::int[]) AS failed (bucket, times)
    ), spent AS (
        SELECT bucket, expires_at FROM keys_failure JOIN failed USING (bucket)
        WHERE failures >= %(limit)s AND expires_at > statement_timestamp()
    ), counted AS (
        INSERT INTO keys_failure AS kept (bucket, failures, expires_at)
        SELECT bucket, times, statement_timestamp() + %(seconds)s * interval '1 second' FROM failed
        WHERE bucket NOT IN (SELECT bucket FROM spent)
        -- In one order, as each row is locked until all are written.
        ORDER BY bucket
        ON CONFLICT (bucket) DO UPDATE SET
            failures = CASE WHEN kept.expires_at > statement_timestamp()
                THEN kept.failures + excluded.failures ELSE excluded.failures END,
            expires_at = CASE WHEN kept.expires_at > statement_timestamp()
                THEN kept.expires_at ELSE excluded.expires_at END
    )
    SELECT extract(epoch FROM max(expires_at) - statement_timestamp())::float FROM spent
"""
PRUNE = """
    DELETE FROM keys_failure WHERE bucket IN (
        SELECT bucket FROM keys_failure WHERE expires_at <= statement_timestamp()
        FOR UPDATE SKIP LOCKED
    )
"""


def network_of(address: str) -> str:
    """IPv6 by its network: whoever has one address there has them all. Empty for the clients of a
    Unix socket, who have none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    found = getattr(found, "ipv4_mapped", None) or found
    if found.version == 6:
        return str(ipaddress.ip_network((int(found), IPV6_PREFIX), strict=False))
    return str(found)


def bucket(kind: str, value: str) -> str:
    """Nobody without the secret key can tell who shares one."""
    number = int.from_bytes(salted_hmac(f"{__name__}.{kind}", value).digest()[:8]) % BUCKETS
    return f"{kind}.{number:04x}"


def count(buckets: Iterable[str], *, limit: int, seconds: float) -> float | None:
    """Count a failure for each; the seconds until it is worth trying again if one of them had
    reached the limit before."""
    times = Counter(buckets)
    values: dict[str, Any] = {
        "buckets": list(times),
        "times": list(times.values()),
        "limit": limit,
        "seconds": seconds,
    }
    with connection.cursor() as cursor:
        cursor.execute(COUNT, values)
        wait: float | None = cursor.fetchone()[0]
    return wait


def take_back(buckets: Iterable[str]) -> None:
    """It was no failure after all."""
    Failure.objects.filter(pk__in=list(buckets), failures__gt=0).update(failures=F("failures") - 1)


def count_wrong_keys(address: str, prefixes: Iterable[str]) -> float | None:
    return count(
        [
            bucket("key.address", network_of(address)),
            *(bucket("key.prefix", prefix) for prefix in prefixes),
        ],
        limit=settings.KEYS_WRONG_LIMIT,
        seconds=settings.KEYS_WRONG_SECONDS,
    )


def prune() -> int:
    """Forget the windows that are over, but for those that somebody counts in just now."""
    with connection.cursor() as cursor:
        cursor.execute(PRUNE)
        pruned: int = cursor.rowcount
    return pruned
