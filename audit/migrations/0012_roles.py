"""Groups to begin with. What an operator changes in them later is the operator's."""

from typing import Any

from django.db import migrations

SEE = (
    "audit.view_execution",
    "audit.view_sandboxsession",
    "audit.view_sandboxfile",
    "audit.view_sandboxinput",
    "audit.view_sandboxcontainer",
    "keys.view_apikey",
    "keys.view_issuer",
)
READ = ("audit.view_code", "audit.view_output")
ROLES = {
    "viewer": (*SEE, *READ),
    "operator": (
        *SEE,
        *READ,
        "audit.stop_execution",
        "audit.use_playground",
        "audit.change_sandboxsession",
        "audit.change_sandboxcontainer",
        "audit.download_sandboxfile",
        "admin.view_logentry",
    ),
    "key manager": (
        "keys.view_apikey",
        "keys.add_apikey",
        "keys.change_apikey",
        "keys.view_issuer",
        "keys.add_issuer",
        "keys.change_issuer",
        "keys.delete_issuer",
        "audit.view_execution",
        "admin.view_logentry",
    ),
}
# Django makes permissions, under these names, after all migrations only.
NAMES = {
    "audit.view_code": "Can view the code and arguments of executions",
    "audit.view_output": "Can view the output of executions",
    "audit.stop_execution": "Can stop a running execution",
    "audit.use_playground": "Can run programs in the playground",
    "audit.download_sandboxfile": "Can download sandbox files",
}
MODELS = {
    "view_code": "execution",
    "view_output": "execution",
    "use_playground": "execution",
}
VERBOSE = {"apikey": "API key", "issuer": "token issuer", "logentry": "log entry"}


def permission(apps: Any, database: str, name: str) -> Any:
    app, _, codename = name.partition(".")
    action, _, model = codename.partition("_")
    model = MODELS.get(codename, model)
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(database)
    content_type, _ = content_types.get_or_create(app_label=app, model=model)
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    words = VERBOSE.get(model) or model.replace("sandbox", "sandbox ")
    found, _ = permissions.get_or_create(
        content_type=content_type,
        codename=codename,
        defaults={"name": NAMES.get(name, f"Can {action} {words}")},
    )
    return found


def create(apps: Any, schema_editor: Any) -> None:
    """A group that is there already stays as it is."""
    database = schema_editor.connection.alias
    groups = apps.get_model("auth", "Group").objects.using(database)
    for role, names in ROLES.items():
        group, is_new = groups.get_or_create(name=role)
        if is_new:
            group.permissions.set([permission(apps, database, name) for name in names])


class Migration(migrations.Migration):
    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("keys", "0004_identities"),
        ("audit", "0011_finding_executions"),
    ]

    # Back again they stay: nobody can tell whether they were there before, and who is in them.
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
