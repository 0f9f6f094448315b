"""All settings, from the environment only.

In development (the default) every server that is not named by a URL is the embedded one of `make run`, under
`POINTSMAN_HOME`. In production nothing is guessed: what has no safe default must be given, and the process stops with the
name of the variable otherwise. The README's configuration table lists each variable; a test keeps the two in step.
"""

from portal.settings.environment import *
from portal.settings.keys import *
from portal.settings.web import *
from portal.settings.database import *
from portal.settings.celery import *
from portal.settings.temporal import *
from portal.settings.events import *
from portal.settings.actions import *
from portal.settings.mail import *
from portal.settings.api import *
from portal.settings.admin import *
from portal.settings.logs import *
