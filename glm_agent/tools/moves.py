"""The user commits or switches branches while the model works: what writes next says so, once."""

from __future__ import annotations

import threading
from pathlib import Path

from .. import gitdir
from ..errors import RepositoryError, ToolError
from ..types import Arguments, Tool, ToolOutput


class Head:
    """What was checked out when we last looked."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen = self._now()

    def news(self) -> str:
        """What has happened since then, ready to follow a result; "" if nothing has."""
        before, self._seen = self._seen, self._now()
        if before == self._seen:
            return ""
        moved = f"from {before or 'nothing'} to {self._seen or 'nothing'}"
        return (
            f"\n[while you worked, the user moved HEAD {moved}; files may not be what you read: "
            "read again what you go on to change]"
        )

    def settle(self) -> None:
        """What has happened until now was our own doing."""
        self._seen = self._now()

    def _now(self) -> str:
        try:
            return gitdir.head(self._root)
        except (RepositoryError, OSError):
            return ""


def watch(tool: Tool, head: Head) -> Tool:
    """`tool`, which says in its result if HEAD has moved, unless it only reads."""

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        news = head.news()
        try:
            output = tool.run(arguments, cancel)
        except ToolError as error:
            error.args = (f"{error}{news}",)
            raise
        finally:
            head.settle()
        return output._replace(content=output.content + news)

    return tool if tool.reads_only else tool._replace(run=run)
