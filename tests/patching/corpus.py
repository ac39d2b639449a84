"""Patches and edits with the mistakes models make, on real files, and what the tools make of them."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from glm_agent.errors import ToolError
from glm_agent.patching import apply_edit
from glm_agent.tools import edit, patch
from glm_agent.tools.seen import Seen
from glm_agent.workspace import Workspace, text_change

HERE = Path(__file__).parent
Tree = dict[str, tuple[bytes | str, bool]]
Verdict = Literal["right", "refused", "WRONG"]


def cases(path: Path = HERE / "corpus.jsonl") -> Iterator[dict[str, Any]]:
    """The cases of a corpus; tests/patching/README.md says what is in them."""
    return (json.loads(line) for line in path.read_text("utf-8").split("\n") if line)


def judge(case: dict[str, Any], folder: Path) -> tuple[Verdict, str | None]:
    """What became of a case that was put into the empty `folder`, and the refusal if there was one."""
    (folder / "outside_secret.txt").write_text("secret\n")
    root = folder / "root"
    root.mkdir()
    for path, value in case["files_before"].items():
        _write(root / path, value)
    before = _tree(folder)
    refusal = _run(root, case)
    after = _tree(folder)
    if refusal is not None or (case.get("noop_ok") and after == before):
        return "refused" if after == before else "WRONG", refusal or ""
    return "right" if after in [_expected(before, delta) for delta in _answers(case)] else "WRONG", None


def _run(root: Path, case: dict[str, Any]) -> str | None:
    """What the tool refused with, None if it said that it made the change."""
    workspace, seen, cancel = Workspace(root, forbidden=lambda path: None), Seen(), threading.Event()
    try:
        if "patch" in case:
            text = case["patch"].replace("{{ROOT}}", str(root))
            patch.tool(workspace, seen).run({"patch": text}, cancel)
        else:
            _edit(workspace, case["args"])
    except ToolError as error:
        return str(error)
    return None


def _edit(workspace: Workspace, args: dict[str, Any]) -> None:
    """One edit by the tool; several, which it takes one by one, by the engine: all of them or none."""
    first, *more = args["edits"]
    if not more:
        arguments = {"path": args["path"], "replace_all": False, **first}
        edit.tool(workspace, Seen()).run(arguments, threading.Event())
        return
    file = workspace.read(args["path"])
    text = file.text
    for change in (first, *more):
        text = apply_edit(text, change["old"], change["new"])
    workspace.apply([text_change(file, text)])


def _answers(case: dict[str, Any]) -> list[dict[str, Any]]:
    expect = case["expect"]
    return [expect["apply"], *expect.get("also", [])] if "apply" in expect else []


def _expected(before: Tree, delta: dict[str, str | dict[str, str] | None]) -> Tree:
    tree = dict(before)
    for path, value in delta.items():
        name = f"root/{path}"
        if value is None:
            tree.pop(name, None)
            continue
        mode = value.get("mode") if isinstance(value, dict) else None
        tree[name] = (_bytes(value), mode == "100755" if mode else before.get(name, (b"", False))[1])
    return tree


def _write(path: Path, value: str | dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, dict) and "link" in value:
        path.symlink_to(value["link"])
        return
    path.write_bytes(_bytes(value))
    path.chmod(0o755 if isinstance(value, dict) and value.get("mode") == "100755" else 0o644)


def _bytes(value: str | dict[str, str]) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return base64.b64decode(value["b64"]) if "b64" in value else value["text"].encode()


def _tree(root: Path) -> Tree:
    tree: Tree = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            tree[name] = (str(path.readlink()), False)
        elif path.is_file():
            tree[name] = (path.read_bytes(), os.access(path, os.X_OK) and bool(path.stat().st_mode & 0o100))
    return tree
