"""Incidents: find the cause of failed runs, and the changes that people make (docs/reference/incidents.md)."""
