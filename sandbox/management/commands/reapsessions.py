from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Any

from django.core.management.base import BaseCommand

from keys import throttling
from sandbox import keeper, leftovers, quotas, store, store_keeper
from sandbox.passes import do_each
from sandbox.upkeep import Upkeep


class Command(BaseCommand):
    help = "End expired sessions and remove what crashes left behind; one pass, for cron."

    def handle(self, *args: Any, **options: Any) -> None:
        done: Counter[str] = Counter()

        def counting(name: str, part: Callable[[], int]) -> Callable[[], None]:
            return lambda: done.update({name: part()})

        # What does not need the store first: it may be down.
        try:
            do_each(
                counting("aborted", keeper.abort_executions),
                counting("ended", keeper.end_sessions),
                keeper.remove_live_runs,
                keeper.end_containers,
                keeper.remove_strays,
                throttling.prune,
                quotas.sweep,
                Upkeep().pass_once,
                counting("swept", store.sweep_incoming),
                lambda: store_keeper.delete_files_of_ended(seconds=inf),
                lambda: store_keeper.expire_versions(seconds=inf),
                lambda: leftovers.clear_away(seconds=inf),
                counting("swept", store_keeper.sweep),
            )
        finally:
            self.stdout.write(
                f"ended {done['ended']} expired sessions,"
                f" aborted {done['aborted']} abandoned executions,"
                f" swept {done['swept']} files without a row"
            )
