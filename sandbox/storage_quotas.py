"""What keys and users may keep in the store: their quotas of stored bytes.

What is stored is summed up from the files' rows when it is asked for, which is when a key with such
a quota keeps something: a counter would have to follow every way in which files go. With many files
that takes a while, so most of those who keep something at the same time do not wait for each other:

* Who keeps little takes one of the key's lanes, sums up, and notes what it keeps, all in one
  transaction; a lane is one transaction's at a time. Little is a `share` of the quota at most.
* It does so only where there is room for a share of each other lane besides. For of all who are in
  lanes, who sums up last sees all that is kept but what the others in lanes at that moment have
  summed up already and not committed yet, which is a share each at most. So together they stay
  within the quota.
* Who keeps more, or finds less room, takes all lanes: alone, it may take the last byte.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connection, transaction

from audit.models import Execution, Reservation, SandboxSession
from audit.quotas import MB, STORED, Stored, stored_of, values_of_stored
from keys.models import APIKey
from keys.quotas import OF_STORAGE, Holder
from sandbox.errors import StorageQuotaExceeded
from sandbox.quotas import InForce, description, in_force, note_refusal
from sandbox.workspace import Collected, Desired

# Of advisory locks with two numbers; the second one is the key's and the lane's. Those who take
# several do it in this order, and hold none before.
LANE_LOCK = 7_245_006
LANES = 8
ALL_LANES = range(LANES)
LOCK = "SELECT pg_advisory_xact_lock(%(lock)s, lane) FROM unnest(%(lanes)s::int[]) AS lane"
UNLIMITED = 2**62

# With the locks one round trip, and a transaction of its own unless there is one. What is lost in a
# crash of Postgres is lost with the run that it is for.
RESERVE = f"""
    SET LOCAL synchronous_commit = off; {LOCK};
    WITH stored AS ({STORED}), reserved AS (
        INSERT INTO audit_reservation (id, key_id, user_id, stored_bytes, created_at)
        SELECT %(execution)s, %(key)s, %(user)s, %(size)s, %(now)s FROM stored
        WHERE of_key + %(size)s <= %(most_of_key)s AND of_user + %(size)s <= %(most_of_user)s
        ON CONFLICT (id) DO UPDATE
        SET user_id = excluded.user_id, stored_bytes = excluded.stored_bytes
        RETURNING id
    )
    SELECT of_key, of_user, EXISTS (SELECT FROM reserved) FROM stored
"""  # noqa: S608 - of constants


def quotas_of(key: APIKey, user_id: str) -> list[InForce]:
    """Users are those of the sessions that the files are in."""
    return in_force(key, user_id, OF_STORAGE)


def check(key: APIKey, user_id: str, size: int) -> None:
    """Refuse what does not fit, as it is now."""
    quotas = quotas_of(key, user_id)
    if not quotas:
        return
    stored = _stored(quotas, key, user_id)
    for one in quotas:
        if size > _room(one, stored):
            raise StorageQuotaExceeded(
                f"{description(one.quota, one.most)}. Delete files, or wait until sessions expire.",
                quota=one.quota.name,
            )


def hold(key: APIKey, user_id: str, size: int) -> None:
    """Refuse what does not fit, in the transaction that then writes the rows of what does: until
    it ends nobody else gets that room."""
    quotas = quotas_of(key, user_id)
    if not quotas:
        return
    if _is_little(quotas, size):
        savepoint = transaction.savepoint()
        _lock(key, _any_lane())
        stored = _stored(quotas, key, user_id)
        if all(size + _left_to_others(one) <= _room(one, stored) for one in quotas):
            transaction.savepoint_commit(savepoint)
            return
        # Gives the lane back: with one in hand, two could wait for each other for ever.
        transaction.savepoint_rollback(savepoint)
    _lock(key, ALL_LANES)
    check(key, user_id, size)


def leave_out(
    execution: Execution, session: SandboxSession, collected: Collected, desired: Desired
) -> bool:
    """What a run has left and there is no room for; whether there was anything. Its answer comes
    all the same, and a file that was there before stays as it was."""
    try:
        sizes = {name: incoming.size for name, (_, incoming) in collected.changed.items()}
        names = reserve(execution, session.user_id, sizes)
    except BaseException:
        collected.discard()
        raise
    if names:
        collected.leave_out(names, desired)
    return bool(names)


def reserve(execution: Execution, user_id: str, sizes: Mapping[str, int]) -> set[str]:
    """Room for the files of a run, in their order; the names of those for which there is none.

    Until their rows are there, which is when `release` is called, the others count as well.
    """
    quotas = quotas_of(execution.key, user_id)
    if not quotas or not sizes:
        return set()
    size = sum(sizes.values())
    if _is_little(quotas, size):
        *_, is_reserved = _reserve(execution, user_id, quotas, size, _any_lane())
        if is_reserved:
            return set()
    with transaction.atomic():
        *stored, is_reserved = _reserve(execution, user_id, quotas, size, ALL_LANES)
        if is_reserved:
            return set()
        room, tightest = min((_room(one, Stored(*stored)), one.quota.name) for one in quotas)
        fitting, left_out = _fit(sizes, room)
        if fitting:
            _promise(execution, user_id, fitting)
    note_refusal(execution.key, user_id, tightest)
    return left_out


def release(execution: Execution, user_id: str) -> None:
    """In the transaction that writes the files' rows."""
    if quotas_of(execution.key, user_id):
        Reservation.objects.filter(pk=execution.pk).delete()


def _fit(sizes: Mapping[str, int], room: int) -> tuple[int, set[str]]:
    fitting = 0
    left_out = set()
    for name, size in sizes.items():
        if fitting + size <= room:
            fitting += size
        else:
            left_out.add(name)
    return fitting, left_out


def _reserve(
    execution: Execution, user_id: str, quotas: list[InForce], size: int, lanes: Iterable[int]
) -> tuple[int, int, bool]:
    """What is stored of the key's and of the user's, and whether the room was there."""
    lanes = list(lanes)
    is_alone = len(lanes) == LANES
    most = {
        one.quota.holder: one.most * MB - (0 if is_alone else _left_to_others(one))
        for one in quotas
    }
    values = {
        **values_of_stored(execution.key, user_id, of_all=Holder.KEY in most),
        **_values_of_lock(execution.key, lanes),
        "execution": execution.pk,
        "size": size,
        "most_of_key": most.get(Holder.KEY, UNLIMITED),
        "most_of_user": most.get(Holder.USER, UNLIMITED),
    }
    with connection.cursor() as cursor:
        cursor.execute(RESERVE, values)
        # Past the answers of what comes before it.
        cursor.nextset()
        cursor.nextset()
        found: tuple[int, int, bool] = cursor.fetchone()
        return found


def _promise(execution: Execution, user_id: str, size: int) -> None:
    values = {"key": execution.key, "user_id": user_id, "stored_bytes": size}
    Reservation.objects.bulk_create(
        [Reservation(pk=execution.pk, **values)],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["user_id", "stored_bytes"],
    )


def _stored(quotas: list[InForce], key: APIKey, user_id: str) -> Stored:
    of_all = any(one.quota.holder == Holder.KEY for one in quotas)
    return stored_of(key, user_id, of_all=of_all)


def _room(one: InForce, stored: Stored) -> int:
    used = stored.of_user if one.quota.holder == Holder.USER else stored.of_key
    return one.most * MB - used


def share(one: InForce) -> int:
    """What may be kept in a lane at a time: the lanes together, a quarter of the quota."""
    return one.most * MB // (4 * LANES)


def _is_little(quotas: list[InForce], size: int) -> bool:
    return all(size <= share(one) for one in quotas)


def _left_to_others(one: InForce) -> int:
    return (LANES - 1) * share(one)


def _any_lane() -> list[int]:
    return [secrets.randbelow(LANES)]


def _lock(key: APIKey, lanes: Iterable[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(LOCK, _values_of_lock(key, lanes))


def _values_of_lock(key: APIKey, lanes: Iterable[int]) -> dict[str, Any]:
    numbers = [(key.pk * LANES + lane) % 2**31 for lane in lanes]
    return {"lock": LANE_LOCK, "lanes": numbers}
