"""A session as one document for people or programs: pure functions of what its journal holds."""

from __future__ import annotations

from typing import Literal

from ..journal import Session

Format = Literal["json", "md", "html", "atif"]


def export(session: Session, wanted: Format) -> str:
    """The whole document. Raises UsageError for a session that the format has no room for."""
    if wanted == "html":
        from . import page as writer
    elif wanted == "md":
        from . import markdown as writer
    elif wanted == "atif":
        from . import atif as writer
    else:
        from . import data as writer
    return writer.write(session)
