"""A scripted GLM server on loopback: what the demo plays against, and the tests."""

from __future__ import annotations

from .script import Pace, Recording, read_recording, read_turns
from .server import Request, Server

__all__ = ["Pace", "Recording", "Request", "Server", "read_recording", "read_turns"]
