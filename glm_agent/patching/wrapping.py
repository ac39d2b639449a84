"""What a patch travelled in, taken off: JSON, the arguments of a call, a shell's here-document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import cast

from .refusal import PatchRefused

_PATHS = ("path", "file_path", "filePath", "file", "filename")
_BEFORE = r"^(?:[ \t]|\x1b\[[0-9;]*[mK])*"
_HEAD = re.compile(_BEFORE + r"(?:--- ?\S|diff --git |\*\*\* (?:Begin Patch|\w+ File:)|@@ ?)", re.MULTILINE)
_NAMED = re.compile(_BEFORE + r"(?:--- ?\S|\+\+\+ ?\S|diff --git |\*\*\* \w+ File:)", re.MULTILINE)
_DEPTH = 4
_HERE = re.compile(r"[^+\- @\\].*?<<-?\s*(['\"]?)([A-Z_]\w*)\1(?:\s*[|>&].*)?|<<-?\s*(['\"]?)([A-Z_]\w*)\3")
_OTHERWISE = re.compile(
    r"\bcd\s+(?!['\"]?[/~$]|\.(?:/?\s|/?$|/?[;&]))|\s(?:-R|--reverse|-d|-C|--directory)\b(?!\s+\.?/?\s)"
)
_DIRECTORIES = ("workdir", "cwd", "working_directory", "directory", "dir")
_EXPANDED = re.compile(r"\\[$`]")
_NO_SHELL = "send the patch alone, with paths from the top of the tree"
_END = "*** End Patch"


def unwrapped(text: str) -> str:
    """A patch that was written as JSON text, or as an argument of a call."""
    wrapped = text.lstrip()[:1] in ("{", "[")
    if not wrapped and ("\n" in text or "\\n" not in text):
        return text
    decoded = _loaded(text if wrapped or text.startswith('"') else f'"{text}"')
    if isinstance(decoded, str):
        return decoded.strip("\n")
    found = list(_found(decoded, _DEPTH)) if wrapped else []
    if len(found) != 1:
        return text
    patch, path = found[0]
    if not _NAMED.search(patch):
        return f"--- {path}\n+++ {path}\n{patch}" if path and "\n" not in path else text
    return patch if not path or path in patch else text


def _loaded(text: str) -> object:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _found(value: object, depth: int, path: str = "") -> Iterator[tuple[str, str]]:
    """The texts in it that are patches, each with the path beside it."""
    if isinstance(value, str):
        inner = _loaded(value) if value.lstrip()[:1] in ("{", "[") else None
        if depth and isinstance(inner, dict | list):
            yield from _found(cast("object", inner), depth - 1, path)
        elif _HEAD.search(value):
            yield value.strip("\n"), path
    elif isinstance(value, dict) and depth:
        fields = cast("dict[str, object]", value)
        if any(fields.get(key) not in (None, "", ".", "./") for key in _DIRECTORIES):
            return
        given = next((fields[key] for key in _PATHS if key in fields), path)
        for inner in fields.values():
            yield from _found(inner, depth - 1, given if isinstance(given, str) else path)
    elif isinstance(value, list) and depth:
        for inner in cast("list[object]", value):
            yield from _found(inner, depth - 1, path)


def without_shell(lines: list[str]) -> list[str]:
    """`lines` with the line that ends a here-document as the end of a patch. Raises PatchRefused."""
    at = next((at for at, line in enumerate(lines) if _HEAD.match(line)), len(lines))
    above = [match for line in lines[:at] if (match := _HERE.fullmatch(line.strip()))]
    if not above:
        return lines
    if any(_OTHERWISE.search(match[0]) for match in above):
        raise PatchRefused("a shell command around it says where or how to apply it", hint=_NO_SHELL)
    word = above[-1][2] or above[-1][4]
    end = next((at for at, line in enumerate(lines[at:], at) if line.rstrip("\r") == word), None)
    if end is None:
        return lines
    sent = lines[at:end]
    if not (above[-1][1] or above[-1][3]) and _escapes_in_new_alone(sent):
        raise PatchRefused(
            "a shell may take the backslashes in its added lines away", hint=f"write <<'{word}'"
        )
    return [*lines[:end], _END, *lines[end + 1 :]]


def _escapes_in_new_alone(lines: list[str]) -> bool:
    marked = [line[:1] for line in lines if _EXPANDED.search(line)]
    return "+" in marked and set(marked) == {"+"}
