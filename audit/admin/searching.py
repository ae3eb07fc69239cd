"""A list whose search may be hard to answer: it is given up in time, and the page stays whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages

from audit.admin.counting import CountedChangeList
from audit.patience import TookTooLong, at_most

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

# For each of the few questions of a search, the list's own among them.
MILLISECONDS = 3000
TOO_LONG = "The search took too long: narrow it by a filter or a longer phrase."


class SearchedChangeList(CountedChangeList):
    took_too_long = False
    result_list: Any

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not self.query:
            return super().get_queryset(request, *args, **kwargs)
        try:
            with at_most(MILLISECONDS):
                return super().get_queryset(request, *args, **kwargs)
        except TookTooLong:
            return self._nothing(request)

    def get_results(self, request: HttpRequest) -> None:
        if self.query:
            try:
                with at_most(MILLISECONDS):
                    super().get_results(request)
                    # Now rather than in the template.
                    len(self.result_list)
                    return
            except TookTooLong:
                self.queryset = self._nothing(request)
        super().get_results(request)

    def _nothing(self, request: HttpRequest) -> QuerySet[Any]:
        self.took_too_long = True
        messages.warning(request, TOO_LONG)
        nothing: QuerySet[Any] = self.root_queryset.none()
        return nothing

    def how_many(self) -> str:
        return "Not searched to the end" if self.took_too_long else super().how_many()
