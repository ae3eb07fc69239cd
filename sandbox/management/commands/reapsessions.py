from typing import Any

from django.core.management.base import BaseCommand

from keys import throttling
from sandbox import keeper, quotas, store
from sandbox.upkeep import Upkeep


class Command(BaseCommand):
    help = "End expired sessions and remove what crashes left behind; one pass, for cron."

    def handle(self, *args: Any, **options: Any) -> None:
        reaped = keeper.reap_sessions()
        keeper.expire_versions()
        aborted = keeper.abort_executions()
        keeper.end_containers()
        keeper.remove_strays()
        throttling.prune()
        quotas.sweep()
        Upkeep().pass_once()
        swept = store.sweep_incoming() + keeper.sweep_store()
        self.stdout.write(
            f"ended {reaped} expired sessions, aborted {aborted} abandoned executions,"
            f" swept {swept} files without a row"
        )
