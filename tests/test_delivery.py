from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import git, make_repository

from glm_agent import git as door
from glm_agent.delivery import Moved, message, moved, put
from glm_agent.errors import RepositoryError
from glm_agent.snapshot import Snapshot

ROW = Moved(b"a.py", b"100644 1", b"100644 2")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Add adds.", "Add adds."),
        ("## Add adds\n\nBody\n", "Add adds\n\nBody"),
        ("", "Change a.py"),
        ("\x1b\n\n ", "Change a.py"),
        ("- **Bold**\nx", "Bold\n\nx"),
        (f"{'word ' * 20}", f"{'word ' * 13}word…\n\n{('word ' * 20).strip()}"),
        ("x" * 80, f"{'x' * 71}…\n\n{'x' * 80}"),
    ],
)
def test_a_message_has_a_short_first_line_the_rest_and_who_assisted(answer: str, said: str) -> None:
    assert message(answer, [ROW], "glm-agent 1 (m)") == f"{said}\n\nAssisted-by: glm-agent 1 (m)\n"


@given(st.text(max_size=200))
def test_any_answer_makes_a_message(answer: str) -> None:
    lines = message(answer, [ROW, ROW], "me").split("\n")
    assert 0 < len(lines[0]) <= 72 and lines[0].isprintable()
    assert (lines[1], lines[-3:]) == ("", ["", "Assisted-by: me", ""])


def test_paths_between_two_trees_come_with_mode_and_blob(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "root", {"a": "a\n", "b": "b\n"})
    snapshot = Snapshot(root, tmp_path / "own")
    before = snapshot.take()
    (root / "a").unlink()
    (root / "c\t\n").write_text("b\n")
    blob = git(root, "rev-parse", "HEAD:b").strip().encode()
    none = b"000000 " + b"0" * 40
    gone = git(root, "rev-parse", "HEAD:a").strip().encode()
    assert moved(snapshot, before, snapshot.take()) == [
        Moved(b"a", b"100644 " + gone, none),
        Moved(b"c\t\n", none, b"100644 " + blob),
    ]


@pytest.mark.slow
def test_all_is_put_or_nothing(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "root", {"a": "a\n", "z": "z\n"})
    copy = make_repository(tmp_path / "copy", {"a": "a\n", "z": "z\n"})
    start, own = Snapshot(root, tmp_path / "start"), Snapshot(copy, tmp_path / "own")
    start.take()
    before = own.take()
    (copy / "a").write_text("A\n")
    (copy / "z").unlink()
    rows = moved(own, before, own.take())
    (root / "z").write_text("mine\n")
    with pytest.raises(RepositoryError, match=r"^z changed in the work tree meanwhile"):
        put(rows, copy, start, root)
    assert ((root / "a").read_text(), (root / "z").read_text()) == ("a\n", "mine\n")
    (root / "z").write_text("z\n")
    put(rows, copy, start, root)
    assert (root / "a").read_text() == "A\n" and not (root / "z").exists()
    (copy / "l").symlink_to("a")
    with pytest.raises(RepositoryError, match=r"^l: symbolic links are not applied"):
        put(moved(own, before, own.take()), copy, start, root)


def test_only_what_asks_for_it_may_move_references(repo: Path) -> None:
    with pytest.raises(ValueError, match="git update-ref is not among"):
        door.run(repo, "update-ref", "refs/heads/b", "HEAD")
    door.refer(repo, "update-ref", "refs/heads/b", "HEAD", env={})
    users = [
        path.name for path in Path(door.__file__).parent.rglob("*.py") if "git.refer(" in path.read_text()
    ]
    assert users == ["delivery.py"]
