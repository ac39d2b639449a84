from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from glm_agent.errors import ToolError
from glm_agent.tools.spill import MAX_OUTPUT, Spill


def test_outputs_are_numbered_private_and_lossless(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "kept/outputs")
    assert (spill.save(b"one"), spill.save(b"two \xff\xc3\xa9")) == ("output:1", "output:2")
    assert spill.text("output:2") == "two \\xffé"
    assert spill.file("output:2").read_bytes() == b"two \xff\xc3\xa9"
    modes = [
        stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "kept/outputs", spill.file("output:1"))
    ]
    assert modes == [0o700, 0o600]


def test_nothing_is_made_before_the_first_output(tmp_path: Path) -> None:
    Spill(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_session_goes_on_counting(tmp_path: Path) -> None:
    Spill(tmp_path).save(b"earlier")
    spill = Spill(tmp_path)
    assert spill.save(b"later") == "output:2"
    assert (spill.text("output:1"), spill.text("output:2")) == ("earlier", "later")


def test_names_are_unique_among_threads(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    numbers = range(64)
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(spill.save, [b"%d" % number for number in numbers]))
    assert [spill.text(name) for name in names] == [str(number) for number in numbers]


def test_an_output_is_kept_up_to_a_bound(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.save(bytes(MAX_OUTPUT + 1))
    assert spill.file("output:1").stat().st_size == MAX_OUTPUT


@pytest.mark.parametrize(
    "name", ["output:2", "output:0", "output:01", "output:", "output:../1", "output:1\n", "x"]
)
def test_a_name_that_was_not_given_is_refused(tmp_path: Path, name: str) -> None:
    spill = Spill(tmp_path)
    spill.save(b"one")
    for look in (spill.text, spill.file):
        with pytest.raises(ToolError, match="output"):
            look(name)
