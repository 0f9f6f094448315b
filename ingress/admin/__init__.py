"""Admin screens of `ingress`. Django discovers this package; each module registers its own."""

from ingress.admin import catalogue, deliveries, events  # noqa: F401
