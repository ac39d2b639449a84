"""Pairs of texts without any mercy, and their diffs: by difflib, and by git over whole trees."""

from __future__ import annotations

import difflib
import os
import random
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from glm_agent.patching import PatchRefused, apply_patch

Tree = dict[str, str]

WORDS = (
    *("", "", "a", "b", "b", "}", "{", "x = 1", "return x", "pass", "*/", "-- x", "++ y", "- item"),
    *("--- a/f", "+++ b/f", "@@ -1 +1 @@", "diff --git a/f b/f", "index 0000000..1111111", "```", "```diff"),
    *(
        "\\ No newline at end of file",
        "*** Begin Patch",
        "*** End Patch",
        "new file mode 100644",
        "rename from f",
    ),
    *("a &gt; b", "&amp;", "&lt;p&gt;", "a & b", "<p>", '"q"', "&quot;", "it's", "\\n", "\\t", "…", "..."),
    *("\x0b", "a\x0cb", "\x85", "\u2028c", "a\rb", "\r", "\x1c", "\ufeff", "é", "e\u0301", "“q”", "x\u00a0y"),
    *(
        "\U0001f600",
        "\u200b",
        " ",
        "\t",
        "  ",
        "a ",
        "a\t",
        "# line",
        "From me",
        "Index: f",
        "1: a",
        "\x1b[31m",
    ),
)
INDENTS = ("", "", "", " ", "  ", "    ", "\t", "\t\t", "\t  ", "  \t", "        ")
_NAMES = (
    "f",
    "g.py",
    "d/f",
    "d/e/f",
    "my file",
    "é.txt",
    'q"q',
    "t\tt",
    "b/f",
    "a/f",
    "-x",
    "x y/z w",
    "dev/null2",
)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#39|#x27|#34);")
_BARE = re.compile(r"[<>]|&(?!(?:lt|gt|amp|quot|apos|#39|#x27|#34);)")
_ENVIRONMENT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_DIR": ".git"}


def line(rng: random.Random, ends: tuple[str, ...]) -> str:
    return rng.choice(INDENTS) + rng.choice(WORDS) + rng.choice(ends)


def text(rng: random.Random) -> str:
    """A text of up to forty lines, with any line ends, and maybe without one at its end."""
    ends = rng.choice((("\n",), ("\n",), ("\r\n",), ("\n", "\r\n"), ("\n", "\n", "\n", "\r\n", "\r\r\n")))
    whole = "".join(line(rng, ends) for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 13, 20, 40))))
    return whole[:-1] if rng.random() < 0.3 else whole


def edited(rng: random.Random, before: str) -> str:
    """`before` after a few changes, or another text altogether."""
    if rng.random() < 0.2:
        return text(rng)
    rows = lines(before)
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        at = rng.randint(0, len(rows))
        span = rows[at : at + rng.choice((1, 1, 2, 4))]
        match rng.randint(0, 6):
            case 0:
                rows[at:at] = [line(rng, ("\n", "\n", "\r\n")) for _ in range(rng.choice((1, 2, 4)))]
            case 1:
                rows[at : at + len(span)] = []
            case 2:
                rows[at:at] = span
            case 3:
                rows[at : at + len(span)] = [rng.choice(INDENTS) + row.lstrip(" \t") for row in span]
            case 4:
                rows[at : at + len(span)] = [row.replace("\r\n", "\n") for row in span]
            case 5:
                rows[at : at + len(span)] = [row.replace("\r\n", "\n").replace("\n", "\r\n") for row in span]
            case _:
                rows[at : at + 1] = [line(rng, ("\n",))]
    whole = "".join(row if row.endswith("\n") else row + "\n" for row in rows[:-1]) + "".join(rows[-1:])
    return whole[:-1] if rng.random() < 0.1 else whole


def lines(whole: str) -> list[str]:
    """The lines of a text with their ends, split at "\\n" alone."""
    rows = [row + "\n" for row in whole.split("\n")]
    return [*rows[:-1], *([rows[-1][:-1]] if rows[-1] != "\n" else [])]


def diff(old: str, new: str, context: int = 3, name: str = "f") -> str:
    """As difflib makes it, with git's marks for a missing newline at the end."""
    out: list[str] = []
    for row in difflib.unified_diff(lines(old), lines(new), f"a/{name}", f"b/{name}", n=context):
        out.append(row if row.endswith("\n") else row + "\n\\ No newline at end of file\n")
    return "".join(out)


def tree(rng: random.Random) -> tuple[Tree, Tree]:
    """Files before and after: changed, made, deleted, renamed, swapped; some not touched."""
    names = rng.sample(_NAMES, rng.randint(1, 8))
    folders = {name.rpartition("/")[0] for name in names} | {"d", "x y"}
    before = {name: text(rng) for name in names if name not in folders}
    after = dict(before)
    for name in before:
        match rng.randint(0, 8):
            case 0:
                del after[name]
            case 1:
                after[rng.choice((f"{name}.new", name.upper()))] = after.pop(name)
            case 2:
                other = rng.choice(names)
                if other in after and name in after:
                    after[name], after[other] = after[other], after[name]
            case 3:
                after[f"new {name}".replace("/", " ")] = text(rng)
            case 4:
                pass
            case _:
                if name in after:
                    after[name] = edited(rng, before[name])
    return before, after


OPTIONS = ("-M", "-M", "-M90%", "-B", "--find-copies-harder", "--no-renames")
STYLES = ("-a", "--no-prefix", "--full-index", "--patience", "--ignore-submodules")


class Repository:
    """A git repository in `folder` that is used for nothing but its diffs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git("init", "-q", "-b", "main")

    def diff(self, before: Mapping[str, str], after: Mapping[str, str], *options: str) -> str:
        old, new = self._tree(before), self._tree(after)
        return self._git("diff", "--no-ext-diff", "--text", "-M", *options, old, new).decode()

    def takes(self, patch: str, before: Mapping[str, str], after: Mapping[str, str]) -> bool:
        """Whether git itself gets from one tree to the other by the patch."""
        wanted, _ = self._tree(after), self._tree(before)
        try:
            self._git("apply", "--cached", "--unidiff-zero", "--whitespace=nowarn", "-", sent=patch.encode())
        except subprocess.CalledProcessError:
            return False
        return self._git("write-tree").decode().strip() == wanted

    def _tree(self, files: Mapping[str, str]) -> str:
        entries = b"".join(
            b"100644 %s\t%s\0"
            % (self._git("hash-object", "-w", "--stdin", sent=data.encode()).strip(), name.encode())
            for name, data in files.items()
        )
        self._git("read-tree", "--empty")
        self._git("update-index", "-z", "--index-info", sent=entries)
        return self._git("write-tree").decode().strip()

    def _git(self, *arguments: str, sent: bytes = b"") -> bytes:
        environment = {**os.environ, **_ENVIRONMENT}
        command = ["git", "-c", "core.autocrlf=false", *arguments]
        return subprocess.run(
            command, cwd=self.folder, input=sent, env=environment, capture_output=True, check=True
        ).stdout


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """What `apply_patch` is to say of a diff between the two."""
    paths = sorted({*before, *after})
    return {path: after.get(path) for path in paths if before.get(path) != after.get(path)}


def verdict(patch: str, before: Mapping[str, str], after: Mapping[str, str], reverse: bool = False) -> str:
    if reverse:
        before, after = after, before
    try:
        found = apply_patch(patch, before, reverse)
    except PatchRefused as refusal:
        return f"refused: {refusal.reason}"
    return "right" if found == changed(before, after) else "WRONG"


def doubt(patch: str, before: str, reverse: bool = False) -> str:
    """Why a diff without git's hashes does not say for certain what becomes of `before`; "" if it does.

    "elsewhere" is a diff without context that may be there already, or of which the line ends are not meant.
    """
    rows = [row for row in patch.split("\n")[2:] if row[:1] in ("+", "-", " ")]
    brings = "-" if reverse else "+"
    added = [row[1:] for row in rows if row[0] == brings]
    kept = [row[1:] for row in rows if row[0] != brings]
    if not any(row[0] == " " for row in rows):
        if not any(char.isalnum() for row in kept for char in row):
            return "elsewhere"
        if "\r\n" in before and not any(row.endswith("\r") for row in rows):
            return "elsewhere"
    if any(map(_ENTITY.search, added)) and not _ENTITY.search(before) and not _BARE.search(patch):
        return "escaped"
    indented = [row for row in added if row[:1] in ("\t", " ") and row.strip()]
    if indented and not any(row[:1] in ("\t", " ") for row in kept):
        return "indented" if any(row[:1] in ("\t", " ") for row in before.split("\n")) else ""
    return ""
