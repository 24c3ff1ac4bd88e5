"""Griffe extension that shows the comments behind fields in the API pages: shapes and units."""

from typing import Any, Final

import griffe

_NO_COMMENT: Final = "&nbsp;"  # for fields whose name says it all


class FieldComments(griffe.Extension):
    """Add an `Attributes` section with the comment behind each field to docstrings without one."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Extend the docstring of a class."""
        attributes = [a for a in cls.attributes.values() if "instance-attribute" in a.labels]
        fields = [a for a in attributes if a.annotation and not a.is_private]
        if not fields or not cls.docstring or "\nAttributes:\n" in cls.docstring.value:
            return
        lines = [f"    {field.name}: {_comment(field) or _NO_COMMENT}" for field in fields]
        cls.docstring.value += "\n\nAttributes:\n" + "\n".join(lines)


def _comment(field: griffe.Attribute) -> str:
    """Return the comment at the end of a field's last line."""
    last_line: str = field.source.splitlines()[-1]
    return last_line.partition("  # ")[2]
