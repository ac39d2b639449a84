from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import git as theirs

from glm_agent import git, gitrules
from glm_agent.errors import RepositoryError

# what a section may be called by: anything but NUL and line breaks
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\n\r"), min_size=1, max_size=12
) | st.sampled_from(["=", "a=b", ".", "a.b", "clean", "x.clean", '"', "\\", "]", "[", "#", ";", " ", "-c"])
PROGRAMS = {
    **{f"filter.{{}}.{key}": "" for key in ("clean", "smudge", "process")},
    "filter.{}.required": "false",
    **{f"diff.{{}}.{key}": "" for key in ("textconv", "command")},
    "merge.{}.driver": "false",
    "trailer.{}.cmd": "true",
    "remote.{}.uploadpack": "false",
    "submodule.{}.update": "none",
}


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        theirs(Path(folder), "init", "--quiet")
        yield Path(folder)


@given(NAMES, st.sampled_from(sorted(PROGRAMS)))
def test_whatever_a_driver_is_called_it_runs_nothing(root: Path, name: str, key: str) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    section, _, variable = key.split(".")
    (root / ".git/config").write_text(f'[{section} "{escaped}"]\n\t{variable} = evil\n', "utf-8")
    assert theirs(root, "config", key.format(name)) == "evil\n"
    assert git.run(root, "config", key.format(name)) == PROGRAMS[key].encode() + b"\n"


PIECES = st.sampled_from(
    [
        *("[filter", "[FILTER", "[diff", "[merge.x", "[include]", "]", "\n", '"', "\\", " ", "=", "a=b", "x"),
        *(
            '"a=b"',
            "clean",
            "textconv",
            "evil",
            "#",
            ";",
            "\t",
            "\r\n",
            "\0",
            "\ufeff",
            "é",
            ".",
            "[",
            "path",
        ),
        *('[filter "a"]\nclean=evil\n', '[diff "a=b"]\n\ttextconv = evil\n', "[pager]\nlog = evil\n"),
    ]
)


@given(st.lists(PIECES, max_size=20))
def test_of_any_configuration_nothing_is_run_or_it_is_refused(root: Path, pieces: list[str]) -> None:
    (root / ".git/config").write_text("".join(pieces), "utf-8")
    with suppress(RepositoryError):
        listed = git.run(root, "config", "--includes", "--list", "-z").split(b"\0")[:-1]
        entries = [entry.decode("utf-8", "surrogateescape").partition("\n") for entry in listed]
        last = {name: value for name, _, value in entries}
        wanted = dict(gitrules.harmless(last))
        assert {name: last.get(name) for name in wanted} == wanted


def test_what_chooses_no_program_is_left_alone() -> None:
    names = [
        "core.bare",
        "filter.x.other",
        "filter.clean",
        "remote.origin.url",
        "branch.pager.merge",
    ]
    assert gitrules.harmless(names) == []
    assert gitrules.counted([]) == {"GIT_CONFIG_COUNT": "0"}
