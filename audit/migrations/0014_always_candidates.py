import django.contrib.postgres.fields
from django.db import migrations, models


Numbers = list[int] | None


def numbers() -> "django.contrib.postgres.fields.ArrayField[Numbers, Numbers]":
    return django.contrib.postgres.fields.ArrayField(
        base_field=models.SmallIntegerField(), default=list, null=True, size=None
    )


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0013_report"),
    ]

    operations = [
        migrations.AlterField(model_name="searchentry", name="code", field=numbers()),
        migrations.AlterField(model_name="searchentry", name="output", field=numbers()),
        migrations.AlterField(model_name="searchentry", name="files", field=numbers()),
        migrations.AddIndex(
            model_name="searchentry",
            index=models.Index(
                condition=models.Q(
                    ("code", None), ("output", None), ("files", None), _connector="OR"
                ),
                fields=["execution"],
                name="execution_search_always",
            ),
        ),
    ]
