from django.apps import AppConfig


class SignInConfig(AppConfig):
    name = "portal.sign_in"
    label = "sign_in"
    verbose_name = "Sign-in"

    def ready(self) -> None:
        from portal.sign_in import signals  # noqa: F401  connect the audit log
