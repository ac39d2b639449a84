"""`sessions export`: a session as one document."""

from __future__ import annotations

from .. import config, journal
from ..exports import Format, export
from . import artefacts
from .plain import print_text


def run(name: str, wanted: Format, file: str | None) -> int:
    return print_text(lambda: _export(name, wanted, file))


def _export(name: str, wanted: Format, file: str | None) -> str:
    text = export(journal.load(journal.find(config.state_home(), name)), wanted)
    if file is None:
        return text
    artefacts.write(file, text.encode("utf-8", "backslashreplace"))
    return ""
