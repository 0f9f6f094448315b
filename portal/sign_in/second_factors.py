"""Rules of the portal for second factors (docs/reference/sign-in.md#second-factors)."""

from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from django.core.exceptions import PermissionDenied

from workflows.secret_encryption import KeyMissing
from workflows.services.second_factors import seed_decrypt, seed_encrypt


class SecondFactorAdapter(DefaultMFAAdapter):
    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "The code is wrong, or it was used before. Enter the next one.",
    }

    def encrypt(self, text: str) -> str:
        try:
            return seed_encrypt(text)
        except KeyMissing as error:
            raise PermissionDenied(str(error)) from error

    def decrypt(self, encrypted_text: str) -> str:
        return seed_decrypt(encrypted_text)

    def get_totp_label(self, user: Any) -> str:
        return str(user.get_username())

    def generate_authenticator_name(self, user: Any, type: Any) -> str:
        return "My device"
