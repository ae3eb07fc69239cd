"""How many rows a list has, without reading a million of them to say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unfold.views import ChangeList

from audit.patience import TookTooLong, at_most

if TYPE_CHECKING:
    from django.db.models import QuerySet

MOST = 10_000
MILLISECONDS = 1000


def about(rows: QuerySet[Any]) -> int | None:
    """The number up to `MOST`, more than that if there are more, or None if they are so hard to
    find that counting them would take long."""
    try:
        with at_most(MILLISECONDS):
            return rows.order_by().values("pk")[: MOST + 1].count()
    except TookTooLong:
        return None


class CountedChangeList(ChangeList):
    """Says how much there is beside the theme's endless pages."""

    def how_many(self) -> str:
        number = about(self.queryset)
        plural = str(self.opts.verbose_name_plural)
        if number is None:
            return f"More {plural} than can be counted quickly"
        if number > MOST:
            return f"More than {MOST:,} {plural}"
        return f"{number:,} {self.opts.verbose_name if number == 1 else plural}"
