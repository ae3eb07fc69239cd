from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0014_always_candidates"),
    ]

    operations = [
        # In place of the index on all of them.
        migrations.AlterField(
            model_name="sandboxsession",
            name="expires_at",
            field=models.DateTimeField(),
        ),
        migrations.AddIndex(
            model_name="sandboxsession",
            index=models.Index(
                condition=models.Q(("ended_at", None)),
                fields=["expires_at"],
                name="session_expiry",
            ),
        ),
        migrations.AddIndex(
            model_name="sandboxfile",
            index=models.Index(
                condition=models.Q(("deleted_at", None)),
                fields=["session"],
                include=("size",),
                name="file_kept",
            ),
        ),
    ]
