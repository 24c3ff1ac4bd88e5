"""What a data set holds and which issues it has, without stopping at the first one."""

from tagpose.data.inspection.report import Inspection, inspect

__all__ = ["Inspection", "inspect"]
