"""Settings of the portal with changes, for test processes: `DJANGO_SETTINGS_MODULE=tests.support.changed_settings`.

The environment variable CHANGED_SETTINGS has a JSON object of names and values. A value that is an object is merged
into the portal's value.
"""

import json
import os

from portal import settings as portal_settings
from portal.settings import *  # noqa: F403

for name, value in json.loads(os.environ["CHANGED_SETTINGS"]).items():
    globals()[name] = {**getattr(portal_settings, name), **value} if isinstance(value, dict) else value
