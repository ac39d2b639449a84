from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.redact import Redactor

KEY = 'abc"def\\ghi.0123456789'


def test_a_key_is_replaced_wherever_it_stands() -> None:
    assert Redactor([KEY])(f"a {KEY}, {KEY}") == "a [key], [key]"


def test_a_key_is_replaced_inside_json() -> None:
    text = json.dumps({"output": f"key={KEY}\n", KEY: 1})
    assert json.loads(Redactor([KEY])(text)) == {"output": "key=[key]\n", "[key]": 1}


def test_a_longer_key_is_replaced_before_one_that_it_begins_with() -> None:
    assert Redactor(["12345678", "1234567890"])("1234567890 12345678") == "[key] [key]"


@pytest.mark.parametrize("short", ["", "a", "none", "1234567"])
def test_what_is_too_short_to_be_a_key_is_left_alone(short: str) -> None:
    text = "none of a 1234567"
    assert Redactor([short])(text) == text


@given(st.text(min_size=8), st.text(), st.text())
def test_no_key_survives(key: str, before: str, after: str) -> None:
    text = before + key + after
    redact = Redactor([key])
    if key not in "[key]" * 2 and key not in before + "[key]" + after:
        assert key not in redact(text)
    assert json.dumps(key)[1:-1] not in redact(json.dumps(f"\n{key}\n"))


def test_a_key_that_was_cut_is_one_all_the_same() -> None:
    redact = Redactor(["key.0123456789abcdef"])
    assert redact("bad key.01234567") == "bad [key]"
    assert redact("key.0123456789abcde-key.0123456789abcdefg key.012") == "[key]-[key]g key.012"


@pytest.mark.parametrize("before", ["", "B", "Be", "Bearer "])
def test_what_common_encodings_make_of_a_key_goes_too(before: str) -> None:
    key = "sk+9Zq7Lm3/c5Vb8Nd?>Kf6Jh2Gs4Pw0Rt"
    data = f"{before}{key}".encode()
    spelled = (
        base64.b64encode(data),
        base64.urlsafe_b64encode(data),
        data.hex().encode(),
        quote(data, "").encode(),
    )
    for text in map(bytes.decode, spelled):
        shown = Redactor([key])(f"x {text} y")
        assert "[key]" in shown and len(shown) <= len("x [key] y") + 2 * len(before) + 6, shown
