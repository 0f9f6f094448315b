from django.db import migrations, models


class Migration(migrations.Migration):
    """Changes only the help text of the field."""

    dependencies = [("workflows", "0005_compare_all")]

    operations = [
        migrations.AlterField(
            model_name="incident",
            name="run_count",
            field=models.PositiveIntegerField(
                default=0,
                help_text="Failed runs, with those of the merged incidents. A replay counts only if its cause is another one.",
            ),
        )
    ]
