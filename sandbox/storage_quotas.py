"""What keys and users may keep in the store: their quotas of stored bytes.

What is stored is summed up from the files' rows when it is asked for, which is when a key with such
a quota keeps something: a counter would have to follow every way in which files go.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection, transaction
from django.utils import timezone

from audit.models import Execution, Reservation, SandboxSession, Usage
from audit.quotas import MB, stored_bytes
from keys.models import APIKey
from keys.quotas import OF_STORAGE, Holder, Windows
from sandbox.errors import StorageQuotaExceeded
from sandbox.quotas import KEY_LOCK, LOCK, InForce, description, in_force
from sandbox.workspace import Collected, Desired


def quotas_of(key: APIKey, user_id: str) -> list[InForce]:
    """Users are those of the sessions that the files are in."""
    return in_force(key, user_id, OF_STORAGE)


def lock(key: APIKey) -> None:
    """Nothing else is kept for the key until this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, {"lock": KEY_LOCK, "key": key.pk})


def check(key: APIKey, user_id: str, size: int) -> None:
    """Refuse what does not fit. Whoever then keeps it has taken the lock before."""
    for one in quotas_of(key, user_id):
        if size > _room(one, key, user_id):
            raise StorageQuotaExceeded(
                f"{description(one.quota, one.most)}. Delete files, or wait until sessions expire.",
                quota=one.quota.name,
            )


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
    key = execution.key
    quotas = quotas_of(key, user_id)
    if not quotas or not sizes:
        return set()
    with transaction.atomic():
        lock(key)
        rooms = [(_room(one, key, user_id), one.quota.name) for one in quotas]
        room, tightest = min(rooms)
        fitting = 0
        left_out = set()
        for name, size in sizes.items():
            if fitting + size <= room:
                fitting += size
            else:
                left_out.add(name)
        values = {"key": key, "user_id": user_id, "stored_bytes": fitting}
        Reservation.objects.update_or_create(pk=execution.pk, defaults=values)
        if left_out:
            _note_refusal(key, user_id, tightest)
    return left_out


def release(execution: Execution, user_id: str) -> None:
    """In the transaction that writes the files' rows."""
    if quotas_of(execution.key, user_id):
        Reservation.objects.filter(pk=execution.pk).delete()


def note_refusal(key: APIKey, user_id: str, quota: str) -> None:
    """Where the admin shows it: with the key's use of the day, and the user's."""
    with transaction.atomic():
        lock(key)
        _note_refusal(key, user_id, quota)


def _note_refusal(key: APIKey, user_id: str, quota: str) -> None:
    windows = Windows.at(timezone.now())
    for holder in sorted({"", user_id}):
        usage, _ = Usage.objects.get_or_create(
            key=key,
            user_id=holder,
            day=windows.day.date(),
            defaults={"minute": windows.minute, "hour": windows.hour},
        )
        usage.refused[quota] = usage.refused.get(quota, 0) + 1
        usage.save(update_fields=["refused"])


def _room(one: InForce, key: APIKey, user_id: str) -> int:
    holder = user_id if one.quota.holder == Holder.USER else ""
    return one.most * MB - stored_bytes(key, holder)
