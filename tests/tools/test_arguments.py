from __future__ import annotations

import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.errors import ToolError
from glm_agent.tools.arguments import decode
from glm_agent.types import Arguments, Json, Tool, ToolOutput


def a_tool(name: str, required: list[str], **properties: Json) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": required}

    def run(arguments: Arguments, cancel: threading.Event) -> ToolOutput:
        return ToolOutput("")

    return Tool(name, "", parameters, run, reads_only=True)


TEXT = {"type": "string"}
EDIT = a_tool(
    "edit",
    ["path", "old", "new"],
    path=TEXT,
    old=TEXT,
    new=TEXT,
    replace_all={"type": "boolean", "default": False},
)
READ = a_tool(
    "read",
    ["path"],
    path=TEXT,
    offset={"type": "integer", "default": 1, "minimum": 0},
    limit={"type": "integer", "default": 400, "minimum": 1, "maximum": 1000},
)
BASH = a_tool("bash", ["command"], command=TEXT)
PATCH = a_tool("patch", ["patch"], patch=TEXT)
SEARCH = a_tool("search", ["pattern"], pattern=TEXT, path={"type": "string", "default": "."})
WRITE = a_tool("write", ["path", "content"], path=TEXT, content=TEXT)
FREE = a_tool("free", [], path={"type": "string", "default": "."}, note=TEXT)

EDITED = {"path": "a", "old": "x", "new": "y", "replace_all": False}


@pytest.mark.parametrize(
    ("tool", "raw", "meant"),
    [
        (READ, '{"path":"a"}', {"path": "a", "offset": 1, "limit": 400}),
        (READ, json.dumps('{"path":"a"}'), {"path": "a", "offset": 1, "limit": 400}),
        (READ, ' {"path":"a","offset":"12","limit":3.0} ', {"path": "a", "offset": 12, "limit": 3}),
        (READ, '{"path":"a","offset":null,"why":[1]}', {"path": "a", "offset": 1, "limit": 400}),
        (READ, '{"filename":"a"}', {"path": "a", "offset": 1, "limit": 400}),
        (READ, '{"path":"b","path":"b"}', {"path": "b", "offset": 1, "limit": 400}),
        (EDIT, '{"file_path":"a","old_string":"x","new_string":"y"}', EDITED),
        (EDIT, '{"filePath":"a","oldText":"x","newText":"y","replace_all":"false"}', EDITED),
        (EDIT, '{"file":"a","old_str":"x","new_str":"y"}', EDITED),
        (EDIT, '{"path":"a","edits":[{"old":"x","new":"y"}]}', EDITED),
        (EDIT, '{"path":"a","edits":{"old":"x","new":"y"}}', EDITED),
        (EDIT, '{"edits":[{"path":"a","oldText":"x","newText":"y"}]}', EDITED),
        (EDIT, json.dumps({"path": "a", "edits": '[{"old":"x","new":"y"}]'}), EDITED),
        (EDIT, '{"path":"a","old":"x","old_string":"z","new":"y"}', EDITED),
        (EDIT, '{"path":"a","old":"x","new":"y","replace_all":"True"}', {**EDITED, "replace_all": True}),
        (EDIT, '{"path":"a","old":"x","new":"y","replaceAll":true}', {**EDITED, "replace_all": True}),
        (EDIT, '{"command":"str_replace","path":"a","old_str":"x","new_str":"y","view":[1]}', EDITED),
        (EDIT, json.dumps(json.dumps({"path": "a", "edits": [{"oldText": "x", "newText": "y"}]})), EDITED),
        (
            EDIT,
            '{"target_file":"a","old_string":"x","new_string":"","instruction":"cut"}',
            {**EDITED, "new": ""},
        ),
        (PATCH, '{"patchText":"@@"}', {"patch": "@@"}),
        (PATCH, '{"input":"*** Begin Patch"}', {"patch": "*** Begin Patch"}),
        (PATCH, json.dumps(json.dumps({"patch": "@@", "explanation": "so"})), {"patch": "@@"}),
        (WRITE, '{"file_path":"a","file_text":"c"}', {"path": "a", "content": "c"}),
        (BASH, '{"cmd":"ls"}', {"command": "ls"}),
        (BASH, '{"command":"a\nb"}', {"command": "a\nb"}),
        (PATCH, '{"diff":"@@"}', {"patch": "@@"}),
        (SEARCH, '{"query":"x"}', {"pattern": "x", "path": "."}),
        (SEARCH, '{"regex":"x","path":"b"}', {"pattern": "x", "path": "b"}),
        (WRITE, '{"path":"a","contents":"c"}', {"path": "a", "content": "c"}),
        (WRITE, '{"path":"a","text":"c"}', {"path": "a", "content": "c"}),
        (FREE, "", {"path": "."}),
        (FREE, "null", {"path": "."}),
        (FREE, '""', {"path": "."}),
        (FREE, " " * 100_000, {"path": "."}),
        (FREE, '{"note":"\\ud83d\\ude00"}', {"path": ".", "note": "\U0001f600"}),
    ],
)
def test_what_is_certainly_meant_is_understood(tool: Tool, raw: str, meant: Json) -> None:
    assert decode(tool, raw) == meant


@pytest.mark.parametrize(
    ("tool", "raw", "says"),
    [
        (READ, '{"path": "a', "arguments are not one JSON object: "),
        (READ, '{"path": "a"', "send the whole call again"),
        (READ, '{"path":"a"}{"path":"b"}', "Extra data at character 13 of 24"),
        (READ, "{'path': 'a'}", "not one JSON object"),
        (READ, "path: a", "not one JSON object"),
        (READ, "\0", "not one JSON object"),
        (READ, "7", "must be one JSON object, not a number"),
        (READ, "[]", "must be one JSON object, not a list"),
        (READ, "true", "must be one JSON object, not a boolean"),
        (READ, json.dumps(json.dumps("x")), "must be one JSON object, not a string"),
        (READ, "", 'read needs \'path\'; for example {"path": "..."}'),
        (READ, '{"pth":"a"}', "read needs 'path' (got 'pth'); for example"),
        (READ, '{"path":null}', "read needs 'path'"),
        (EDIT, '{"path":"a","old":"x"}', "edit needs 'new' (got 'path', 'old')"),
        (
            EDIT,
            '{"path":"a","edits":[{"old":"x","new":"y"},{"old":"p","new":"q"}]}',
            "call edit once for each",
        ),
        (EDIT, '{"path":"a","edits":[]}', "must hold one edit"),
        (EDIT, '{"path":"a","edits":"nonsense"}', "not one JSON object"),
        (READ, '{"path":7}', "'path' must be a string, not a number"),
        (READ, '{"path":["a"]}', "'path' must be a string, not a list"),
        (READ, '{"path":"a","limit":true}', "'limit' must be a whole number, not a boolean"),
        (READ, '{"path":"a","limit":1.5}', "'limit' must be a whole number, not a fraction"),
        (READ, '{"path":"a","limit":"ten"}', "'limit' must be a whole number, not a string"),
        (READ, '{"path":"a","limit":0}', "'limit' is 0; it must be between 1 and 1000"),
        (READ, '{"path":"a","limit":"5000"}', "'limit' is 5000; it must be between 1 and 1000"),
        (READ, '{"path":"a","offset":-1}', "'offset' is -1"),
        (READ, '{"path":"a","offset":NaN}', "NaN"),
        (READ, '{"path":"a","offset":1e999}', "'offset' must be a whole number"),
        (READ, '{"path":"a","offset":1' + "0" * 30 + "}", "'offset' is too large"),
        (READ, '{"path":"a","offset":1' + "0" * 5000 + "}", "number that is too large"),
        (EDIT, '{"path":"a","old":"x","new":"y","replace_all":1}', "'replace_all' must be true or false"),
        (READ, '{"path":"\\ud800"}', "'path' holds half a surrogate pair"),
        (READ, '{"path":"a","path":"b"}', "'path' twice"),
        (READ, '{"path":"a","x":' + "[" * 60 + "]" * 60 + "}", "nested more than 50 deep"),
        (READ, "[" * 20_000 + "]" * 20_000, "nested more than 50 deep"),
        (READ, '{"a":' * 20_000, "nested more than 50 deep"),
        (WRITE, '{"path":"a","content":"' + "x" * 2**22 + '"}', "at most 4194304"),
    ],
)
def test_the_rest_is_refused_in_one_line(tool: Tool, raw: str, says: str) -> None:
    with pytest.raises(ToolError) as refusal:
        decode(tool, raw)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "edits", "old"]), inner)
    ),
    max_leaves=8,
)


@given(st.text() | JSON.map(json.dumps) | JSON.map(lambda value: json.dumps(json.dumps(value))))
def test_any_text_gives_arguments_that_fit_or_a_tool_error(raw: str) -> None:
    for tool in (EDIT, READ, FREE):
        try:
            arguments = decode(tool, raw)
        except ToolError:
            continue
        kinds = {name: type(value).__name__ for name, value in arguments.items()}
        names = {"string": "str", "integer": "int", "boolean": "bool"}
        assert kinds == {name: names[tool.parameters["properties"][name]["type"]] for name in kinds}
        assert set(tool.parameters["required"]) <= set(kinds)
