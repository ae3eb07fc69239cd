"""Below whichever base URL LibreChat has: `middleware.NormalisePath` has taken that off."""

from django.urls import path

from sandbox.api import views

urlpatterns = [
    path("health", views.Health.as_view()),
    path("health/ready", views.Ready.as_view()),
    path("exec", views.Exec.as_view()),
    path("exec/programmatic", views.Programmatic.as_view()),
    path("exec/programmatic/cancel", views.ProgrammaticCancel.as_view()),
    path("upload", views.Upload.as_view()),
    path("upload/batch", views.UploadBatch.as_view()),
    path("download/<session_id>/<file_id>", views.Download.as_view()),
    path("files/<session_id>", views.SessionFiles.as_view()),
    path("files/<session_id>/<file_id>", views.SessionFile.as_view()),
    path("sessions/<session_id>/objects/<file_id>", views.SessionObject.as_view()),
]
