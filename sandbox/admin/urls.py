"""The admin's pages that no table of the database is behind."""

from django.urls import path

from sandbox.admin import live, playground

urlpatterns = [
    path("live/", live.live, name="live"),
    path("live/runs/", live.runs, name="live-runs"),
    path("live/<execution_id>/stop/", live.stop, name="live-stop"),
    path("playground/", playground.playground, name="playground"),
    path("playground/run/", playground.Run.as_view(), name="playground-run"),
    path("playground/files/", playground.Files.as_view(), name="playground-files"),
    path("playground/files/<token>/", playground.download, name="playground-download"),
]
