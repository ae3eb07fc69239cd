from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.http import HttpResponseRedirect
from django.urls import reverse
from unfold.enums import ActionVariant

from audit.admin import SandboxContainerAdmin
from audit.models import SandboxContainer
from keys.admin.theme import action
from sandbox import operating
from sandbox.admin.confirming import Question

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

admin.site.unregister(SandboxContainer)


@admin.register(SandboxContainer)
class ContainerAdmin(SandboxContainerAdmin):
    actions_detail = ("remove",)

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        containers = SandboxContainer.objects.filter(state__in=operating.REMOVABLE)
        is_removable = not object_id or containers.filter(pk=unquote(object_id)).exists()
        return is_removable and request.user.has_perm("audit.change_sandboxcontainer")

    @action(
        description="Remove", permissions=("remove",), icon="delete", variant=ActionVariant.DANGER
    )
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        container = SandboxContainer.objects.get(pk=unquote(object_id))
        here = reverse("admin:audit_sandboxcontainer_change", args=(quote(container.pk),))
        question = Question(
            title="Remove it?",
            consequence="No run is in it, and no file is lost: its session's files are in the file "
            "store. If it was waiting in the pool, the keeper starts another one.",
            button="Remove",
            rows=[container],
            back=here,
        )
        if not question.is_confirmed(request):
            return question.ask(request)
        if operating.remove_container(container):
            self.log_change(request, container, "Removed.")
            self.message_user(request, f"{container} is removed.", messages.SUCCESS)
        else:
            self.message_user(request, "A run has just taken it.", messages.WARNING)
        return HttpResponseRedirect(here)
