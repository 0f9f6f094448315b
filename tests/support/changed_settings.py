"""The portal's settings as a developer may have edited them: `CHANGED_SETTINGS` is a JSON object of names and values.

For processes of their own, `DJANGO_SETTINGS_MODULE=tests.support.changed_settings`. An object is merged into the object of the portal.
"""

import json
import os

from portal import settings as portal_settings
from portal.settings import *  # noqa: F403

for name, value in json.loads(os.environ["CHANGED_SETTINGS"]).items():
    globals()[name] = {**getattr(portal_settings, name), **value} if isinstance(value, dict) else value
