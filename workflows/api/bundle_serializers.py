"""Serializers of bundles: the options of an import, and its results."""

from typing import Any

from rest_framework import serializers


class BundleImportQuerySerializer(serializers.Serializer[Any]):
    """Query parameters of an import. The body of the request is the bundle."""

    dry_run = serializers.BooleanField(default=False, help_text="Return the results and store nothing.")
    publish = serializers.BooleanField(default=False, help_text="Also publish the drafts of the bundle.")
    partial = serializers.BooleanField(  # type: ignore[assignment]  # a serializer has an attribute of this name
        default=False, help_text="Import only the workflows without a problem."
    )
    force = serializers.BooleanField(
        default=False, help_text="Replace drafts that have unpublished changes, and archived definitions."
    )
    placeholders = serializers.BooleanField(
        default=False, help_text="Save the drafts of workflows whose actions or schemas are missing."
    )


class BundleExportQuerySerializer(serializers.Serializer[Any]):
    """Query parameters of an export."""

    keys = serializers.CharField(
        default=None, help_text="Keys, separated by commas. Absent: all definitions that are not archived."
    )
    with_children = serializers.BooleanField(default=False, help_text="Add the definitions that the chosen ones call.")


class ImportedWorkflowSerializer(serializers.Serializer[Any]):
    """Result for one workflow of a bundle."""

    key = serializers.CharField()
    outcome = serializers.ChoiceField(choices=["created", "changed", "unchanged", "refused"])
    draft_saved = serializers.BooleanField()
    versions = serializers.ListField(
        child=serializers.IntegerField(), help_text="Numbers of its versions in this tenant."
    )
    published = serializers.IntegerField(allow_null=True, help_text="Version that new runs use.")
    renamed = serializers.ListField(child=serializers.DictField(), help_text="Step ids: `{path, from, to}`.")
    references = serializers.ListField(
        child=serializers.DictField(), help_text="Translated calls: `{path, workflow, version, key, number}`."
    )
    unresolved = serializers.ListField(child=serializers.DictField(), help_text="Calls of unknown workflows.")
    missing = serializers.ListField(
        child=serializers.DictField(), help_text="Missing dependencies: `{kind, name, blocks, message}`."
    )
    placeholders = serializers.ListField(child=serializers.DictField(), help_text="`{kind, name}`. Replace them.")
    warnings = serializers.ListField(child=serializers.DictField(), help_text="`{code, path, message}`.")
    problems = serializers.ListField(child=serializers.DictField(), help_text="Why the workflow is refused.")


class BundleImportResultSerializer(serializers.Serializer[Any]):
    """Result of an import. `accepted` is false if a dry run found that the import would be refused."""

    dry_run = serializers.BooleanField()
    accepted = serializers.BooleanField()
    command_id = serializers.UUIDField(allow_null=True)
    workflows = ImportedWorkflowSerializer(many=True)
