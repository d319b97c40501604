"""All faults, in the order of the table."""

from tests.faults.alarms import ALARMS
from tests.faults.history import HISTORY
from tests.faults.kinds import Fault
from tests.faults.realtime import REALTIME

FAULTS: tuple[Fault, ...] = (*REALTIME, *HISTORY, *ALARMS)
