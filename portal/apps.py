from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        from portal import celery, checks  # noqa: F401  register the Celery application and the system checks


class PointsmanAdminConfig(AdminConfig):
    default_site = "portal.site.PointsmanAdminSite"
