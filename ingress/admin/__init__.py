"""Admin screens of `ingress`. Django imports this package, and each module registers its screens."""

from ingress.admin import catalogue, deliveries, events  # noqa: F401
