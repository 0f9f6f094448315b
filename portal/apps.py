from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.contrib.auth import get_user_model
from django.db.backends.signals import connection_created


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "Portal"

    def ready(self) -> None:
        from portal import celery, checks  # noqa: F401  register the Celery application and the system checks
        from portal.database.login_check import refuse_powerful_login
        from portal.database_router import hide_passwords

        connection_created.connect(refuse_powerful_login, dispatch_uid="portal.database")
        hide_passwords(get_user_model())


class PointsmanAdminConfig(AdminConfig):
    default_site = "portal.site.PointsmanAdminSite"
