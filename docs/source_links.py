"""MkDocs hook that shows links to source files as plain paths.

The Markdown files link to `../src` and `../conf`, which are on GitHub but not part of the site.
"""

import re
from typing import Any, Final

_SOURCE_LINK: Final = re.compile(r"\[(`[^`\]]+`)\]\((?:\.\./)+(?:src|conf|scripts|tests)/[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace links to files outside of `docs/` by their text."""
    return _SOURCE_LINK.sub(r"\1", markdown)
