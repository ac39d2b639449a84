"""Damaged input against every reader of untrusted bytes; a target that breaks its promise ends the run.

A target takes bytes and returns a word for what happened; words are counted. Only the errors that it names
as its own may come out of it.
"""

from __future__ import annotations

import collections
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from glm_agent import config, patching, sse
from glm_agent.errors import ConfigError, ToolError
from glm_agent.model import read_turn
from glm_agent.recover import recover
from glm_agent.secrets import mask
from glm_agent.tools.arguments import decode
from glm_agent.types import Tool, ToolOutput
from glm_agent.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
_SPICE = (
    *(b"\0", b"\n", b"\r", b"..", b"/", b"\\", b".git", b"GIT~1", b"data:", b'"', b"{", b"}", b"[", b"]"),
    *(b"\xff", b"\xed\xa0\x80", "\u2028".encode(), "\u200c".encode(), b"\\ud800", b"1e999", b"@@ -1 +1 @@\n"),
    *(
        b"--- a/",
        b"+++ b/",
        b"</tool_call>",
        b"<think>",
        b"null",
        b"-",
        b"%2e",
        b"~",
        b"*" * 50,
        b"'''",
        b"=",
    ),
)
_SCHEMA = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "limit": {"type": "integer", "default": 4, "minimum": 1},
        "all": {"type": "boolean", "default": False},
    },
    "required": ["path"],
}


def _no_run(*_: object) -> ToolOutput:
    raise NotImplementedError


TOOL = Tool("read", "", _SCHEMA, _no_run, reads_only=True)


def paths(folder: Path) -> Callable[[bytes], str]:
    root = folder / "root"
    (root / "src").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("CANARY")
    (folder / "outside.txt").write_text("CANARY")
    (root / "src" / "a.py").write_text("inside")
    (root / "up").symlink_to("..")
    (root / "out").symlink_to(folder / "outside.txt")
    (root / "in").symlink_to("src/a.py")
    workspace = Workspace(root)

    def target(data: bytes) -> str:
        try:
            text = workspace.read(data.decode("utf-8", "surrogateescape")).text
        except ToolError:
            return "refused"
        assert "CANARY" not in text
        return "read"

    return target


def stream(data: bytes) -> str:
    whole = _decoded([data])
    at = len(data) // 3
    assert whole == _decoded([data[:at], data[at:]]), "a split changed the meaning"
    return "whole" if whole[0].finish and not whole[1] else "broken"


def _decoded(parts: list[bytes]) -> tuple[Any, list[str]]:
    reading = read_turn(sse.read(parts))
    while True:
        try:
            next(reading)
        except StopIteration as end:
            turn = end.value
            recover(turn.message, {"read": _SCHEMA}, None)
            return turn.message, [fault.kind for fault in turn.faults]


def arguments(data: bytes) -> str:
    try:
        found = decode(TOOL, data.decode("utf-8", "replace"))
    except ToolError:
        return "refused"
    assert set(found) <= set(_SCHEMA["properties"])
    assert isinstance(found["path"], str)
    assert isinstance(found["limit"], int)
    return "taken"


def configuration(folder: Path) -> Callable[[bytes], str]:
    root = folder / "configured"
    root.mkdir()

    def target(data: bytes) -> str:
        (root / config.REPOSITORY_FILE).write_bytes(data)
        try:
            settings = config.load({}, root, root, {"HOME": str(folder)})
        except ConfigError:
            return "refused"
        assert settings.base_url is None
        assert settings.provider is None
        return "taken"

    return target


def patches(data: bytes) -> str:
    before = {"a.py": "".join(f"line {number}\n" for number in range(40)), "b.txt": "x\n"}
    try:
        after = patching.apply_patch(data.decode("utf-8", "replace"), before)
    except patching.PatchRefused:
        return "refused"
    assert all(text is None or isinstance(text, str) for text in after.values())
    return "applied"


def secrets(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    once = mask(text)
    assert mask(once) == once
    assert once.count("\n") == text.count("\n")
    return "masked" if once != text else "plain"


def seeds(name: str) -> list[bytes]:
    """Good input of the kind, to be damaged."""
    if name == "stream":
        return [path.read_bytes() for path in sorted((ROOT / "tests" / "streams").glob("*.sse"))]
    if name == "patches":
        hunk = "--- a/a.py\n+++ b/a.py\n@@ -3,3 +3,3 @@\n line 2\n-line 3\n+LINE 3\n line 4\n"
        return [hunk.encode(), (hunk + "--- a/b.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n").encode()]
    return {
        "paths": [
            b"src/a.py",
            b"in",
            b"up/outside.txt",
            b"../outside.txt",
            b".git/config",
            b"out",
            b"./src//a.py",
        ],
        "arguments": [b'{"path":"a","limit":3,"all":true}', b'"{\\"path\\":\\"a\\"}"', b'{"file_path":"a"}'],
        "configuration": [
            b'model = "glm-4.7"\nverify = ["true"]\nmax_turns = 3\n',
            b"[tool]\n[tool.glm-agent]\n",
        ],
        "secrets": [
            b'key = "sk-' + b"aB3" * 12 + b'"\n',
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ],
    }[name]


def damaged(good: list[bytes], chance: random.Random) -> Iterator[bytes]:
    while True:
        data = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 6)):
            at = chance.randint(0, len(data))
            match chance.randint(0, 5):
                case 0:
                    data[at : at + chance.randint(1, 8)] = b""
                case 1:
                    data[at:at] = chance.choice(_SPICE)
                case 2:
                    data[at : at + 1] = bytes([chance.randint(0, 255)])
                case 3:
                    other = chance.choice(good)
                    data[at:at] = other[chance.randint(0, len(other)) :][: chance.randint(1, 200)]
                case 4:
                    piece = data[at : at + chance.randint(1, 40)]
                    data[at:at] = piece * chance.randint(1, 20)
                case _:
                    del data[at:]
        yield bytes(data)


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"seed {seed}, {seconds:g} s a target", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        targets: dict[str, Callable[[bytes], str]] = {
            **{"paths": paths(folder), "stream": stream, "arguments": arguments},
            **{"configuration": configuration(folder), "patches": patches, "secrets": secrets},
        }
        return max(_feed(name, target, seconds, seed) for name, target in targets.items())


def _feed(name: str, target: Callable[[bytes], str], seconds: float, seed: int) -> int:
    counts = collections.Counter[str]()
    slowest, end = 0.0, time.monotonic() + seconds
    for data in damaged(seeds(name), random.Random(seed)):
        begun = time.monotonic()
        if begun > end:
            break
        try:
            counts[target(data)] += 1
        except Exception:  # noqa: BLE001 - whatever it is, it is the finding
            traceback.print_exc()
            print(f"{name}: broken by {data!r}")
            return 1
        slowest = max(slowest, time.monotonic() - begun)
    print(
        f"{name:14} {sum(counts.values()):9,} inputs, slowest {slowest * 1000:.0f} ms  {json.dumps(counts)}",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
