"""What a data set holds and what is wrong with it, told without stopping at the first fault."""

from tagpose.data.inspection.kinds import Fault, Kind
from tagpose.data.inspection.report import Inspection, inspect

__all__ = ["Fault", "Inspection", "Kind", "inspect"]
