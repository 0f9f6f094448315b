"""All settings. Their only source is the environment.

In development (the default), `make run` starts an embedded server for each server that has no URL in the environment.
Embedded servers keep their data under `POINTSMAN_HOME`. In production, a variable without a safe default must be set.
Otherwise the process stops with an error that names the variable.

Each file has the settings of one area. The imports below are in the order of the README's configuration table. A test
compares this table with the variables that the settings read.
"""

from portal.settings.environment import *
from portal.settings.keys import *
from portal.settings.web import *
from portal.settings.database import *
from portal.settings.celery import *
from portal.settings.sign_in import *
from portal.settings.temporal import *
from portal.settings.events import *
from portal.settings.actions import *
from portal.settings.mail import *
from portal.settings.api import *
from portal.settings.admin import *
from portal.settings.logs import *
