import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0012_roles"),
    ]

    operations = [
        migrations.CreateModel(
            name="Report",
            fields=[
                (
                    "name",
                    models.CharField(
                        choices=[
                            ("keeper", "the keeper's last pass"),
                            ("canary", "the last run of the keeper's own program"),
                        ],
                        max_length=16,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("content", models.JSONField(default=dict)),
            ],
        ),
    ]
