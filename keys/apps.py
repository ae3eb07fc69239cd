from django.apps import AppConfig


class KeysConfig(AppConfig):
    default_auto_field = "django.db.models.BigAutoField"
    name = "keys"
    verbose_name = "Keys"

    def ready(self) -> None:
        from keys import checks  # noqa: F401  Importing registers them.
