from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError, validate

from glm_agent import structured
from glm_agent.errors import UsageError
from glm_agent.structured import Answer
from glm_agent.types import Json, ToolOutput

PERSON: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["name"],
    "additionalProperties": False,
}
NUMBERS: Json = {"type": "array", "items": {"type": "integer"}}
TREE: Json = {
    "$defs": {"tree": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/$defs/tree"}}]}},
    "$ref": "#/$defs/tree",
}
AGAIN = (
    "Give the whole answer again, corrected: call `answer`, or where there are no tools, reply with the JSON "
    "object alone."
)
ACCEPTED = ToolOutput("accepted", details={"final": True})


def call(answer: Answer, raw: str) -> ToolOutput:
    return answer.tool().run({"raw": raw}, threading.Event())


def fits_schema(schema: Json, text: str) -> bool:
    try:
        validate(json.loads(text), schema)
    except ValidationError:
        return False
    return True


def refusal(*errors: str) -> str:
    return "\n".join(["this answer does not fit the schema:", *(f"- {error}" for error in errors), AGAIN])


# The schema


def test_a_schema_is_given_itself_or_by_its_file(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(TREE).encode())
    assert structured.load(json.dumps(PERSON)) == PERSON
    assert structured.load(f"@{file}") == TREE


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"enum": ["yes", "no"]},
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"a": {}},
            "$ref": "#/definitions/a",
        },
        {"$schema": "https://example.com/my-own", "type": "object"},
        {
            "$id": "https://example.com/a",
            "type": "array",
            "items": {"$ref": "#/$defs/b"},
            "$defs": {"b": True},
        },
        {"$defs": {"b": {"$anchor": "here", "type": "string"}}, "$ref": "#here"},
        {"const": {"$ref": "https://example.com/data"}},
        {"type": "object", "properties": {"$ref": {"type": "string"}}},
    ],
)
def test_what_is_a_schema(schema: Json) -> None:
    assert structured.load(json.dumps(schema)) == schema


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "",
            "not JSON: Expecting value: line 1 column 1 (char 0); give a schema, or @FILE for one in a file",
        ),
        ("schema.json", "not JSON: Expecting value: line 1 column 1 (char 0); give a schema, or @FILE"),
        ("[1]", 'a schema must be a JSON object, such as {"type": "object", …}'),
        ("true", "a schema must be a JSON object"),
        (
            '{"type": "strng"}',
            "not a JSON Schema: $.type: 'strng' is not valid under any of the given schemas",
        ),
        ('{"properties": {"a": {"type": 5}}}', "not a JSON Schema: $.properties.a.type: 5 is not"),
        ('{"pattern": "("}', "not a JSON Schema: $.pattern: '(' is not a 'regex'"),
        ('{"name": "Ann", "age": 5}', "not a JSON Schema: 'name' is no keyword, nor is any other"),
        (
            '{"$ref": "https://example.com/s"}',
            "'https://example.com/s': only references within the schema (#…)",
        ),
        ('{"items": [{"$ref": "file:///etc/passwd"}]}', "not a JSON Schema: $.items"),
        ('{"items": {"$ref": "other.json"}}', "'other.json': only references within the schema (#…) are"),
        ('{"$ref": "#/$defs/a"}', "the reference '#/$defs/a' leads nowhere"),
        ('{"$ref": "#/required/x", "required": ["a"]}', "the reference '#/required/x' leads nowhere"),
        (
            '{"$ref": "#/required", "required": ["a"]}',
            "the reference '#/required' leads to what is no schema",
        ),
        ('{"properties": {"default": {"$ref": "a.json"}}}', "'a.json': only references within the schema"),
        (
            '{"$defs": {"a": {}, "b": {"$id": "x:b", "$ref": "#/$defs/a"}}, "$ref": "#/$defs/b"}',
            "the reference",
        ),
        ('{"$ref": "#"}', "nested too deep, or refers to itself without end"),
        ('{"minimum": NaN}', "not JSON: NaN is no JSON number, or too large for one"),
        ('{"minimum": 1e999}', "not JSON: 1e999 is no JSON number, or too large for one"),
        ('{"title": "\\ud800", "type": "null"}', "not JSON: holds half a surrogate pair"),
        ('{"title": "\udcff", "type": "null"}', "not UTF-8"),
        ("[" * 60_000, "not JSON: nested too deep"),  # some Pythons go 10 000 deep
        ('{"not":' * 300 + "{}" + "}" * 300, "nested too deep, or refers to itself without end"),
        (" " * 65_537, "a schema may have 64 KiB, and this has more"),
    ],
)
def test_what_is_no_schema(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        structured.load(text)
    assert str(caught.value).startswith(f"--json-schema: {said}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    large, odd = tmp_path / "large", tmp_path / "odd"
    large.write_bytes(b" " * 70_000)
    odd.write_bytes(b"{\xff}")
    said = {
        f"@{tmp_path}/none": "No such file or directory",
        f"@{tmp_path}": "Is a directory",
        "@": "Is a directory",
        "@a\0b": "embedded null byte",
        "@/dev/zero": "a schema may have 64 KiB, and this has more",
        f"@{large}": "a schema may have 64 KiB, and this has more",
        f"@{odd}": "not UTF-8",
    }
    for text, why in said.items():
        with pytest.raises(UsageError) as caught:
            structured.load(text)
        assert str(caught.value) == f"--json-schema {text}: {why}"


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_no_text_gets_anything_but_a_schema_or_one_error(text: str) -> None:
    try:
        Draft202012Validator.check_schema(structured.load(text))
    except UsageError as error:
        assert str(error).startswith("--json-schema")


def test_nothing_is_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        reference = f"http://127.0.0.1:{server.getsockname()[1]}/schema"
        said = Answer({"$ref": reference}).demand("5")
        assert said == refusal(f"$: the schema's reference {reference!r} cannot be followed")
        with pytest.raises(BlockingIOError):
            server.accept()


# The tool


def test_an_object_is_the_arguments_and_anything_else_their_value() -> None:
    assert structured.parameters({"$schema": "x", **PERSON}) == PERSON
    assert structured.parameters({"type": "object"}) == {"type": "object", "properties": {}}
    assert structured.parameters(NUMBERS) == {
        "type": "object",
        "properties": {"value": NUMBERS},
        "required": ["value"],
    }
    tree = structured.parameters(TREE)
    assert tree["properties"]["value"]["$ref"] == "#/properties/value/$defs/tree"
    fits = {text: fits_schema(tree, f'{{"value":{text}}}') for text in ("null", "[[null],[]]", "[5]", "{}")}
    assert fits == {"null": True, "[[null],[]]": True, "[5]": False, "{}": False}


def test_the_tool_runs_alone_and_says_what_it_is_for() -> None:
    tool = Answer(PERSON).tool()
    assert (tool.name, tool.parameters, tool.reads_only) == ("answer", PERSON, False)
    assert "`answer`" in structured.INSTRUCTION


@pytest.mark.parametrize(
    ("schema", "raw", "value"),
    [
        (PERSON, '{"name": "Ann"}', {"name": "Ann"}),
        (PERSON, ' {"name":"Ann","tags":["a"]}\n', {"name": "Ann", "tags": ["a"]}),
        (PERSON, '{"name":"Ann","tags":"[\\"a\\"]"}', {"name": "Ann", "tags": ["a"]}),
        (PERSON, '{"name":"[1]","tags":[]}', {"name": "[1]", "tags": []}),
        (PERSON, '"{\\"name\\":\\"Ann\\"}"', {"name": "Ann"}),
        (PERSON, '{"value":{"name":"Ann"}}', {"name": "Ann"}),
        (NUMBERS, '{"value":[1,2]}', [1, 2]),
        (NUMBERS, '{"value":"[1,2]"}', [1, 2]),
        (NUMBERS, "[1,2]", [1, 2]),
        (NUMBERS, '{"value":[1,2],"why":"so"}', [1, 2]),
        (TREE, '{"value":null}', None),
        ({"enum": ["yes", "no"]}, '{"value":"yes"}', "yes"),
        ({"type": "object"}, "", {}),
        ({"type": "object"}, '{"value":{"value":1}}', {"value": {"value": 1}}),
        ({"type": ["object", "string"]}, '{"value":"{}"}', "{}"),
        ({}, '{"value":{"value":1}}', {"value": 1}),
    ],
)
def test_an_answer_that_fits_ends_the_loop(schema: Json, raw: str, value: object) -> None:
    answer = Answer(schema)
    assert call(answer, raw) == ACCEPTED
    assert (answer.found, answer.value) == (True, value)
    assert answer.demand("whatever it says now") is None


@pytest.mark.parametrize(
    ("schema", "raw", "errors"),
    [
        (PERSON, "", ["$: 'name' is a required property"]),
        (PERSON, '{"name":"Ann"', ["not JSON: Expecting ',' delimiter: line 1 column 14 (char 13)"]),
        (PERSON, '{"name":NaN}', ["not JSON: NaN is no JSON number, or too large for one"]),
        (PERSON, '{"name":"\\ud800"}', ["not JSON: holds half a surrogate pair; send the character whole"]),
        (PERSON, '{"name":"Ann"}{}', ["not JSON: Extra data: line 1 column 15 (char 14)"]),
        (PERSON, "[" * 100_000, ["not JSON: nested too deep"]),
        ({}, '{"value":' + "[" * 100_000 + "]" * 100_000 + "}", ["not JSON: nested too deep"]),
        (PERSON, '{"name":' + "9" * 5_000 + "}", ["not JSON: a number of 5000 digits is too large"]),
        (
            PERSON,
            '{"name":"Ann","tags":["a",5],"x":1}',
            [
                "$.tags[1]: 5 is not of type 'string'",
                "$: Additional properties are not allowed ('x' was unexpected)",
            ],
        ),
        (
            NUMBERS,
            json.dumps({"value": ["a"] * 9}),
            [*(f"$[{n}]: 'a' is not of type 'integer'" for n in range(5)), "and more"],
        ),
        (
            {"anyOf": [{"type": "null"}, {"properties": {"a": {"type": "null"}}, "type": "object"}]},
            '{"value":{"a":5}}',
            ["$.a: 5 is not of type 'null'"],
        ),
        (
            {"anyOf": [{"type": "null"}, {"type": "string"}]},
            '{"value":5}',
            [
                "$: 5 is not valid under any of the given schemas: "
                "5 is not of type 'null'; 5 is not of type 'string'"
            ],
        ),
        (TREE, '{"value":' + "[" * 400 + "]" * 400 + "}", ["$: nested deeper than can be checked"]),
        (
            NUMBERS,
            json.dumps({"value": "x" * 5_000}),
            [f"$: '{'x' * 299}… [4,725 more characters]"],
        ),
    ],
)
def test_an_answer_that_does_not_fit_is_told_why(schema: Json, raw: str, errors: list[str]) -> None:
    answer = Answer(schema)
    output = call(answer, raw)
    assert output == ToolOutput(f"error: {refusal(*errors)}", ok=False)
    assert (answer.found, answer.refused) == (False, 1)
    assert answer.complaint == f"no answer fitted the schema; the last one: {errors[0]}"


def test_after_two_repairs_the_loop_ends_without_an_answer() -> None:
    answer = Answer(NUMBERS)
    outputs = [call(answer, raw) for raw in ("{", '{"value":["a"]}', '{"value":5}')]
    assert [output.details for output in outputs] == [{}, {}, {"final": True}]
    assert not any(output.ok for output in outputs)
    assert answer.demand('{"value":[1]}') is None
    assert not answer.found
    assert answer.complaint == "no answer fitted the schema; the last one: $: 5 is not of type 'array'"


def test_a_repaired_answer_counts() -> None:
    answer = Answer(NUMBERS)
    assert [call(answer, raw).ok for raw in ("", "{}", '{"value":[]}')] == [False, False, True]
    assert (answer.found, answer.value) == (True, [])


# The text of a turn without a call


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (PERSON, '{"name": "Ann"}', {"name": "Ann"}),
        (PERSON, 'Here it is:\n\n```json\n{"name": "Ann"}\n```\nBye.', {"name": "Ann"}),
        (PERSON, 'No:\n```\n{"name": 5}\n```\nbut\n  ```json\n{"name": "Ann"}\n  ```', {"name": "Ann"}),
        (PERSON, '```\n{"name":"Ann"}\n```\nagain\n```\n{"name":"Ann"}\n```', {"name": "Ann"}),
        (PERSON, '```json\n{"name": "Ann"}', {"name": "Ann"}),
        (PERSON, '{"name": "Ann"}\n```\nnote\n```', {"name": "Ann"}),
        (NUMBERS, '{"value": [1]}', [1]),
        ({"type": "integer"}, "42\n", 42),
    ],
)
def test_a_text_that_is_the_answer_is_taken(schema: Json, text: str, value: object) -> None:
    answer = Answer(schema)
    assert answer.demand(text) is None
    assert (answer.found, answer.value, answer.refused) == (True, value, 0)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("I am done.", "there is no JSON value in the reply"),
        ("", "there is no JSON value in the reply"),
        ('Her name: {"name": "Ann"}', "there is no JSON value in the reply"),
        ('{"name": 5}', "$.name: 5 is not of type 'string'"),
        ('```\n{"name":"A"}\n```\n\n```\n{"name":"B"}\n```', "there are several answers that fit; give one"),
    ],
)
def test_a_text_that_is_no_answer_is_asked_again_twice(text: str, error: str) -> None:
    answer = Answer(PERSON)
    assert [answer.demand(text) for _ in range(3)] == [refusal(error), refusal(error), None]
    assert not answer.found
    assert answer.complaint == f"no answer fitted the schema; the last one: {error}"


def test_calls_and_texts_share_the_repairs() -> None:
    answer = Answer(PERSON)
    assert not call(answer, "{}").ok
    assert answer.demand("Done.")
    assert call(answer, "{}").details == {"final": True}


def test_an_answer_given_before_more_work_does_not_count() -> None:
    answer = Answer(NUMBERS)
    assert call(answer, '{"value":[1]}').ok
    answer.withdraw()
    assert (answer.found, answer.value) == (False, None)
    assert answer.demand("[2]") is None
    assert answer.value == [2]


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "tags", "value", "x"]), inner, max_size=3)
        | inner.map(json.dumps)
    ),
)


@given(VALUES.map(json.dumps) | VALUES.map(lambda value: f"So:\n```\n{json.dumps(value)}\n```") | st.text())
def test_no_answer_is_taken_that_does_not_fit(text: str) -> None:
    for schema in (PERSON, NUMBERS, TREE):
        spoken, called = Answer(schema), Answer(schema)
        said, done = spoken.demand(text), call(called, text)
        assert (said is None) == spoken.found
        assert done.ok == called.found
        for answer in (spoken, called):
            assert not answer.found or fits_schema(schema, json.dumps(answer.value))


def test_many_fences_are_read_in_time() -> None:
    assert Answer(PERSON).demand("```json\n" * 50_000 + "x")


# Hosts without tools


def test_json_mode_takes_the_tools_out_and_describes_the_object() -> None:
    options: Json = {
        "tools": [{}],
        "tool_choice": "auto",
        "tool_stream": True,
        "stream": True,
        "max_tokens": 9,
    }
    assert structured.json_mode(options, NUMBERS) == (
        {"stream": True, "max_tokens": 9, "response_format": {"type": "json_object"}},
        "There are no tools here. Reply with one JSON object and nothing else; it must fit:\n"
        '{"type": "object", "properties": {"value": {"type": "array", "items": {"type": "integer"}}}, '
        '"required": ["value"]}',
    )
    assert "tools" in options


@pytest.mark.parametrize("text", [f'{{"x": 1{"0" * 400}}}', '{"x": 1, "x": 2}', '{"x": 1, "x": [2, {}]}'])
def test_an_answer_that_cannot_be_checked_or_says_two_things_is_refused(text: str) -> None:
    schema: Json = {"type": "object", "properties": {"x": {"multipleOf": 0.01}}}
    assert "does not fit" in str(Answer(schema).demand(text))
    assert "does not fit" in call(Answer(schema), text).content


def test_a_regex_that_counts_too_far_is_no_schema() -> None:
    with pytest.raises(UsageError, match="not a JSON Schema: the repetition number"):
        structured.load('{"pattern": "a{99999999999999}"}')
