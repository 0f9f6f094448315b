"""Retention: periods of a tenant, legal holds, and the deletion of old rows (docs/reference/retention.md)."""
