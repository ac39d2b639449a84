from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.render.sanitize import clean, clean_line

# Format characters that draw a glyph: the number signs of Arabic, Syriac and Kaithi.
_DRAWN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a␛[2Jb"),
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("10%\r20%", "10%␍20%"),
        ("\x7f\x9b31m", "␡\\x9b31m"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("a\u200bb\ufeff\u2028", "a\\u200bb\\ufeff\\u2028"),
        ("hi\U000e0041", "hi\\U000e0041"),
        ("caf\udce9.py \ud83d", "caf\\xe9.py \\ud83d"),
        ("plain\ttext\n你好 ✔️ é", "plain\ttext\n你好 ✔️ é"),
    ],
)
def test_what_a_terminal_obeys_or_hides_is_shown(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_no_control_or_invisible_character_is_left_in_any_plane() -> None:
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    every = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in hidden]
    left = {ord(character) for character in every if clean(character) == character}
    assert left == _DRAWN | {9, 10}


def test_one_line_stays_one_line() -> None:
    assert clean_line("a\nb\tc\x0bd") == "a␊b␉c␋d"


@given(st.text(), st.text())
def test_a_sequence_split_between_two_calls_is_shown_as_if_whole(first: str, second: str) -> None:
    assert clean(first) + clean(second) == clean(first + second)


@given(st.text(alphabet=st.characters()))
def test_cleaning_twice_changes_nothing_and_the_result_is_utf8(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert once.encode().decode() == once
