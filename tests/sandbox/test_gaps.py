"""What is hidden in place, where no mount can cover it, and homes that lie in what is the system's."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from glm_agent import sandbox
from glm_agent.errors import SandboxError
from glm_agent.sandbox.gaps import Part, around

Box = Callable[..., sandbox.Ran]

# Each of them would print the secret's `hunter22`, at once or in the next command.
TRIES = (
    *("cat .env deploy/.env", "cat /proc/self/cwd/.env", "cat /proc/self/root$PWD/.env", "cat link"),
    *("mv .env src/x; cat src/x", "mv .env y; cat y", "ln .env src/z; cat src/z", "cp .env src/c; cat src/c"),
    *(
        "mv deploy src/; cat src/deploy/.env",
        "mv deploy other; cat other/.env",
        "cat .e*; tar c . | tr -d '\\0'",
    ),
    *("chmod 777 .env; cat .env", "exec 3< .env; cat <&3"),
    f"{sys.executable} -c 'import os, mmap; print(mmap.mmap(os.open(\".env\", 0), 0, 1, 1)[:])'",
)


@pytest.fixture
def tree(policy: sandbox.Policy) -> Path:
    for name in ("src/f", "calc.py", "deploy/notes", ".env", "deploy/.env"):
        (policy.root / name).parent.mkdir(exist_ok=True)
        (policy.root / name).write_text("PASSWORD=hunter22\n" if name.endswith(".env") else f"{name}\n")
    (policy.root / "link").symlink_to(".env")
    return policy.root


def hidden(root: Path) -> tuple[Path, ...]:
    return (root / ".env", root / "deploy/.env")


def test_in_place_a_hidden_file_is_opened_by_none_of_its_ways(box: Box, tree: Path) -> None:
    box("true")  # or skip
    for script in ("\n".join(TRIES), "find . -type f | xargs cat"):
        ran = box(script, tier="B", hidden=hidden(tree), timeout=60)
        assert b"hunter" not in ran.done.output
        assert b"calc.py" in ran.done.output or "cat .env" in script
    assert [path.read_text() for path in hidden(tree)] == ["PASSWORD=hunter22\n"] * 2


@pytest.mark.slow
def test_each_of_those_ways_leads_to_a_file_that_is_not_hidden(box: Box, tree: Path) -> None:
    box("true")  # or skip
    fresh = (
        f'rm -rf "$TMPDIR/w"; cp -a . "$TMPDIR/w"; (cd "$TMPDIR/w"; {one}); echo; echo end' for one in TRIES
    )
    each = box("\n".join(fresh), tier="B").done.output.split(b"\nend\n")[:-1]
    assert [b"hunter" in said for said in each] == [True] * len(TRIES)


def test_in_place_work_goes_on_beside_hidden_files(box: Box, tree: Path) -> None:
    box("true")  # or skip
    work = "echo more >> calc.py && mkdir src/new && echo x > src/new/g && mv src/f src/h && cat deploy/notes"
    ran = box(f"{work} && echo x > new", tier="B", hidden=hidden(tree))
    assert ran.done.output.split(b"\n")[0] == b"deploy/notes"
    assert (tree / "calc.py").read_text() == "calc.py\nmore\n" and (tree / "src/new/g").exists()
    assert ran.note == (
        "beside secret files nothing can be made or removed, so not in ., deploy: --allow-secrets"
    )
    assert not (tree / "new").exists()


@pytest.mark.slow
def test_in_place_tests_run_beside_hidden_files(box: Box, tree: Path) -> None:
    box("true")  # or skip
    (tree / "test_x.py").write_text("def test_a(tmp_path): (tmp_path / 'x').write_text('')\n")
    ran = box(
        f"{sys.executable} -m pytest -q test_x.py; git status", tier="B", hidden=hidden(tree), timeout=60
    )
    assert b"1 passed" in ran.done.output


@pytest.mark.parametrize("tier", ["A", "B"])
def test_a_home_below_what_is_readable_is_not(tier: sandbox.Tier, box: Box, tmp_path: Path) -> None:
    opt = tmp_path.resolve() / "opt"
    for name in ("me/.ssh/id_rsa", "me/tools/bin/mine", "jdk/bin/java"):
        (opt / name).parent.mkdir(parents=True)
        (opt / name).write_text("#!/bin/sh\necho ran $0\n")
        (opt / name).chmod(0o755)
    for link, target in (("way", "me"), ("latest", "jdk"), ("key", "me/.ssh/id_rsa")):
        (opt / link).symlink_to(target)
    keys = f"cat {opt}/me/.ssh/id_rsa {opt}/way/.ssh/id_rsa {opt}/key"
    look = f"{keys}; {opt}/jdk/bin/java; {opt}/me/tools/bin/mine"
    ran = box(look, tier=tier, readable=(opt, opt / "me/tools"), homes=(opt / "me",))
    said = [line for line in ran.done.output.decode().split("\n") if line.startswith(("#", "ran", "echo"))]
    assert said == [f"ran {opt}/jdk/bin/java", f"ran {opt}/me/tools/bin/mine"]


def test_only_what_leads_to_something_spared_is_opened_in_part(tmp_path: Path) -> None:
    for name in ("a/b/secret", "a/b/other", "a/c/d", "e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/link").symlink_to("c")
    (tmp_path / "a/way").symlink_to("b")
    top = tmp_path.resolve()
    parts = [
        Part(top / "a", False),
        Part(top / "a/c", True),
        Part(top / "a/b", False),
        Part(top / "a/b/other", True),
    ]
    assert list(around(top / "a", {top / "a/b/secret"})) == parts
    with_links = {part.place.name for part in around(top / "a", {top / "a/b/secret"}, links=True)}
    assert "link" in with_links and "way" not in with_links
    assert list(around(top / "e", {top / "a"})) == [Part(top / "e", True)]
    assert list(around(top / "a", {top / "a"})) == []


@pytest.mark.slow
def test_a_folder_with_too_many_entries_to_name_is_refused(tmp_path: Path) -> None:
    for number in range(10_001):
        os.close(os.open(tmp_path / str(number), os.O_CREAT))
    with pytest.raises(SandboxError, match="too many files beside one that is to be hidden"):
        list(around(tmp_path.resolve(), {tmp_path.resolve() / "1"}))
