"""Code of a stranger in a CI job that has the owner's secrets: known by what GitHub says of the event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import SandboxError
from ..paths import shown
from ..shape import mapping, string
from ..types import Json

_LARGEST = 16 << 20  # bytes of an event
# Events that have the secrets of the repository, and where they say whose code they are about.
_PRIVILEGED = {
    "pull_request_target": ("pull_request", "head", "repo"),
    "workflow_run": ("workflow_run", "head_repository"),
}


def require_none(environ: Mapping[str, str], head: object) -> None:
    """Raises SandboxError if the checkout, at the commit `head`, is a fork's and the job is privileged.

    Such a job begins with the repository's own code checked out, which is at GITHUB_SHA.
    """
    path = _PRIVILEGED.get(environ.get("GITHUB_EVENT_NAME", ""))
    if environ.get("GITHUB_ACTIONS") != "true" or path is None or head == environ.get("GITHUB_SHA"):
        return
    event = _event(environ.get("GITHUB_EVENT_PATH", ""))
    owner = string(mapping(event.get("repository")).get("full_name"))
    found = event
    for name in path:
        found = mapping(found.get(name))
    if (stranger := string(found.get("full_name"))) != owner or not owner:
        whose = shown(stranger) if stranger else "a fork"
        raise SandboxError(
            f"this job has the repository's secrets, and the checkout is that of {whose}: run it on "
            "pull_request, in two jobs (docs/ci.md); --allow-fork runs it all the same"
        )


def _event(file: str) -> Json:
    with suppress(OSError, ValueError, RecursionError), Path(file).open("rb") as stream:
        return mapping(json.loads(stream.read(_LARGEST)))
    return {}
