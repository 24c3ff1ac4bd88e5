"""This file lets the documentation show the comments behind fields: their shapes and units."""

from typing import Any, Final

import griffe

_NOTHING: Final = "&nbsp;"  # the name of a field may say all


class FieldComments(griffe.Extension):
    """Lists the fields of a class in its docstring, each with the comment behind it."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Add the list to a class that has none."""
        fields = [one for one in cls.attributes.values() if "instance-attribute" in one.labels]
        declared = [one for one in fields if one.annotation and not one.is_private]
        if not declared or not cls.docstring or "\nAttributes:\n" in cls.docstring.value:
            return
        lines = [f"    {field.name}: {_comment(field) or _NOTHING}" for field in declared]
        cls.docstring.value += "\n\nAttributes:\n" + "\n".join(lines)


def _comment(field: griffe.Attribute) -> str:
    """What stands behind a field."""
    last: str = field.source.splitlines()[-1]
    return last.partition("  # ")[2]
