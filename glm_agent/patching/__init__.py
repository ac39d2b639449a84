"""The patch engine: text in, text out, or a typed refusal. No disk, and never a guess."""

from __future__ import annotations

from .change import FileChange
from .edit import apply_edit, edit
from .plan import apply_patch, paths, plan
from .refusal import NO_FILE, PatchRefused

__all__ = ["NO_FILE", "FileChange", "PatchRefused", "apply_edit", "apply_patch", "edit", "paths", "plan"]
