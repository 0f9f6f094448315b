"""Expected access: one cell for every method of every endpoint. The access matrix fails for a method without a cell."""

from tests.support.access_api import api_cells
from tests.support.access_screens import screen_cells

CELLS = {cell.label: cell for cell in (*api_cells(), *screen_cells())}
