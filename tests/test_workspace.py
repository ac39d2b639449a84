from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from glm_agent.errors import ToolError
from glm_agent.paths import is_git, named
from glm_agent.text import decode, encode
from glm_agent.workspace import MAX_FILE, Change, Entry, TextFile, Workspace, text_change


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a secret beside it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_text("secret")
    root = tmp_path / "repo"
    (root / "src/deep").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git/config").write_text("[core]\n")
    (root / "src/app.py").write_text("x = 1\n")
    return root


@pytest.fixture
def workspace(root: Path) -> Workspace:
    return Workspace(root)


def tree(root: Path) -> dict[str, bytes | str]:
    """Everything beneath `root`: contents of files, targets of links, "/" for directories."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else "/"
    return found


# Names.


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (".", "."),
        ("./", "."),
        ("src/app.py", "src/app.py"),
        ("./src//app.py", "src/app.py"),
        ("src/", "src"),
        ("src/../src/app.py", "src/app.py"),
        ("a b", "a b"),
        (" a", " a"),
        ("a\\b", "a\\b"),
        ("....//x", "..../x"),
        ("%2e%2e/x", "%2e%2e/x"),
        (".gitignore", ".gitignore"),
        (".github/workflows/ci.yml", ".github/workflows/ci.yml"),
        ("$HOME/x", "$HOME/x"),
    ],
)
def test_a_path_is_taken_relative_to_the_root(workspace: Workspace, given: str, meant: str) -> None:
    assert workspace.locate(given) == meant


def test_an_absolute_path_inside_is_made_relative(workspace: Workspace, root: Path) -> None:
    assert workspace.locate(str(root / "src/app.py")) == "src/app.py"
    assert workspace.locate(str(root)) == "."


def test_the_root_may_be_named_through_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    workspace = Workspace(tmp_path / "link")
    assert workspace.locate(str(tmp_path / "link/src/app.py")) == "src/app.py"
    assert workspace.locate(str(root / "src/app.py")) == "src/app.py"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("/", "outside"),
        ("/etc/passwd", "outside"),
        ("..", "above"),
        ("../outside/secret.txt", "above"),
        ("src/../../outside/secret.txt", "above"),
        ("~", "relative to its root"),
        ("~/.ssh/id_rsa", "relative to its root"),
        ("~root/x", "relative to its root"),
        ("C:\\x", "relative to its root"),
        ("c:/x", "relative to its root"),
        ("\\\\server\\x", "relative to its root"),
        ("file:///etc/passwd", "relative to its root"),
        ("https://example.org/x", "relative to its root"),
        ("a\0b", "holds '\\x00'"),
        ("a\nb", "holds '\\n'"),
        ("a" * 5000, "at most 4096"),
        ("a/" * 300, "at most 200"),
        (".git/config", "git's own"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(workspace: Workspace, path: str, says: str) -> None:
    with pytest.raises(ToolError, match=says.replace("\\", "\\\\")):
        workspace.locate(path)


def test_a_sibling_that_shares_the_prefix_is_outside(workspace: Workspace, root: Path) -> None:
    with pytest.raises(ToolError, match="outside"):
        workspace.locate(f"{root}-evil/x")
    with pytest.raises(ToolError, match="above"):
        workspace.locate(f"{root}/../outside/secret.txt")


GIT = [
    *(".git", ".GIT", ".Git", ".giT", ".git.", ".git..", ".git ", ".git. .", ".git . ."),
    *(
        ".git:x",
        ".git::$INDEX_ALLOCATION",
        ".GIT:$I30:$INDEX_ALLOCATION",
        "git~1",
        "GIT~1",
        "git~2",
        "git~10",
    ),
    *(".g\u200cit", ".g\u200dit", ".git\u200b", "\ufeff.git", ".gi\u2060t", ".g\u00adit", ".\u202egit"),
    *(".g\u034fit", ".gi\ufe0ft", ".g\U000e0001it", ".g\u115fit", ".g\u180eit", "\u2066.git"),
    *("\uff0egit", ".\uff47\uff49\uff54", "\u2024git", ".\u24d6it", ".\U0001d420it", ".g\u1d62t"),
    *(
        ".git\\config",
        "a\\.GIT",
        ".g\u200cit.",
        ".GiT::$DATA",
        ".g\x00it".replace("\0", "\u200e"),
        ".git\u3000",
    ),
]


@pytest.mark.parametrize("name", GIT)
def test_every_spelling_of_dot_git_is_refused(workspace: Workspace, name: str) -> None:
    for path in (name, f"{name}/config", f"src/{name}/hooks/x"):
        with pytest.raises(ToolError, match="git's own"):
            workspace.locate(path)


@pytest.mark.parametrize(
    "name", [".gitignore", "git", ".gitx", "x.git", "git~", ".gi", "..git", "gít", "日本"]
)
def test_names_that_only_look_like_dot_git_pass(name: str) -> None:
    assert not is_git(name)


@given(st.text(max_size=60) | st.text("./\\~:git", max_size=30))
def test_any_text_is_a_path_inside_or_refused(path: str) -> None:
    try:
        found = Workspace(Path("/srv/repo")).locate(path)
    except ToolError as error:
        assert "\n" not in str(error)
        return
    parts = found.split("/")
    assert found == "." or not {"", ".", "..", ".git"} & {part.lower() for part in parts}


# Encodings.


@given(
    st.binary(max_size=200)
    | st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"\xff\xfe\0\0x\0\0\0", b"\xfe\xff\0a\xd8"])
)
def test_decoding_loses_nothing(data: bytes) -> None:
    text, encoding = decode(data)
    assert encode(text, encoding) == data


@given(st.text(), st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "utf-32-be"]))
def test_a_marked_text_is_read_without_its_mark(text: str, codec: str) -> None:
    assume(not (codec == "utf-16-le" and text.startswith("\0")))  # the mark of UTF-32
    mark = "\ufeff".encode(codec)
    assert decode(mark + text.encode(codec)) == (text, f"{codec}-bom")


def test_what_is_not_utf_8_is_latin_1() -> None:
    assert decode(b"caf\xe9\r\n") == ("café\r\n", "latin-1")


# Reading.


def test_a_file_is_read_as_it_is(workspace: Workspace, root: Path) -> None:
    (root / "src/win.txt").write_bytes(b"\xef\xbb\xbfa\r\nb\x0cc")
    (root / "src/win.txt").chmod(0o600)
    assert workspace.read("./src/win.txt") == TextFile("src/win.txt", "a\r\nb\x0cc", "utf-8-bom", 0o600, 9)


def test_links_beneath_the_root_are_followed(workspace: Workspace, root: Path) -> None:
    (root / "file").symlink_to("src/app.py")
    (root / "folder").symlink_to("src/deep/..")
    (root / "src/deep/back").symlink_to("../../folder/app.py")
    (root / "top").symlink_to("src/..")
    for path in ("file", "folder/app.py", "src/deep/back", "top/src/app.py"):
        assert workspace.read(path).text == "x = 1\n"
    assert [entry.name for entry in workspace.entries("folder")] == ["app.py", "deep"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("../outside/secret.txt", "outside the repository"),
        ("src/../../outside/secret.txt", "outside the repository"),
        ("/etc/passwd", "leads, by a symbolic link, to /etc/passwd"),
        ("link", "loop"),
        (".git/config", "git's own"),
        ("src/../.GIT/config", "git's own"),
        ("gone", "does not exist"),
        ("src/app.py/x", "goes through a file"),
    ],
)
def test_links_that_lead_elsewhere_are_refused(
    workspace: Workspace, root: Path, target: str, says: str
) -> None:
    (root / "link").symlink_to(target)
    (root / "src/via").symlink_to("../link")
    for path in ("link", "src/via"):
        with pytest.raises(ToolError, match=says):
            workspace.read(path)


def test_a_linked_directory_cannot_lead_out(workspace: Workspace, root: Path) -> None:
    (root / "out").symlink_to("../outside")
    for look in (workspace.read, workspace.entries, workspace.kind):
        with pytest.raises(ToolError, match="outside the repository"):
            look("out/secret.txt")


def test_what_is_no_regular_file_is_refused_at_once(workspace: Workspace, root: Path) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)  # socket paths are short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        for path in ("fifo", "socket"):
            with pytest.raises(ToolError, match="not a regular file"):
                workspace.read(path)
            assert workspace.kind(path) == "file"


def test_a_directory_a_binary_and_a_huge_file_are_not_text(workspace: Workspace, root: Path) -> None:
    (root / "image").write_bytes(b"\x89PNG\0\0")
    with (root / "huge").open("wb") as file:
        file.truncate(8 * 2**30)
    (root / "most").write_bytes(b"a" * MAX_FILE)
    with pytest.raises(ToolError, match="src is a directory"):
        workspace.read("src")
    with pytest.raises(ToolError, match=r"image is binary \(6 bytes\)"):
        workspace.read("image")
    with pytest.raises(ToolError, match=f"at most {MAX_FILE}"):
        workspace.read("huge")
    assert workspace.read("most").size == MAX_FILE


@pytest.mark.parametrize(
    ("path", "near"),
    [("app.py", "src/app.py"), ("src/ap.py", "src/app.py"), ("lib/app.py", "src/app.py"), ("srcs", "src")],
)
def test_a_missing_file_comes_with_near_names(workspace: Workspace, path: str, near: str) -> None:
    with pytest.raises(ToolError, match=f"^{path} does not exist; did you mean {near}\\?$"):
        workspace.read(path)


def test_a_listing_is_sorted_and_without_git(workspace: Workspace, root: Path) -> None:
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    (root / os.fsdecode(b"\xff")).write_text("abc")
    assert workspace.entries(".") == [
        Entry("fifo", "other", 0),
        Entry("link", "link", 11),
        Entry("src", "directory", (root / "src").stat().st_size),
        Entry(os.fsdecode(b"\xff"), "file", 3),
    ]


def test_kinds(workspace: Workspace) -> None:
    kinds = {path: workspace.kind(path) for path in (".", "src", "src/app.py", "no", "no/x", "src/app.py/x")}
    assert kinds == {
        ".": "directory",
        "src": "directory",
        "src/app.py": "file",
        "no": "missing",
        "no/x": "missing",
        "src/app.py/x": "missing",
    }


def test_a_directory_swapped_for_a_link_never_leads_out(workspace: Workspace, root: Path) -> None:
    (root / "swap").mkdir()
    (root / "swap/secret.txt").write_text("ours")
    (root / "evil").symlink_to("../outside")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (root / "swap").rename(root / "kept")
            (root / "evil").rename(root / "swap")
            (root / "swap").rename(root / "evil")
            (root / "kept").rename(root / "swap")

    thread = threading.Thread(target=swap)
    thread.start()
    texts: set[str] = set()
    refused = 0
    for _ in range(3000):
        try:
            texts.add(workspace.read("swap/secret.txt").text)
        except ToolError:
            refused += 1
    done.set()
    thread.join()
    assert texts <= {"ours"}
    assert refused


# Writing.


def test_changes_are_made_with_parents_modes_and_encoding(workspace: Workspace, root: Path) -> None:
    (root / "run.sh").write_bytes(b"\xff\xfeo\0l\0d\0")
    (root / "run.sh").chmod(0o755)
    (root / "gone").write_text("bye")
    workspace.apply(
        [
            text_change(workspace.read("run.sh"), "new"),
            Change("gone", None, expect=b"bye"),
            Change("a/b/c.txt", b"hi"),
            Change("a/b/tool", b"#!", mode=0o755),
        ]
    )
    assert tree(root) == {
        ".git": "/",
        ".git/config": b"[core]\n",
        "a": "/",
        "a/b": "/",
        "a/b/c.txt": b"hi",
        "a/b/tool": b"#!",
        "run.sh": b"\xff\xfen\0e\0w\0",
        "src": "/",
        "src/app.py": b"x = 1\n",
        "src/deep": "/",
    }
    modes = [stat.S_IMODE((root / path).stat().st_mode) for path in ("run.sh", "a/b/c.txt", "a/b/tool")]
    assert modes == [0o755, 0o644, 0o755]


def test_another_name_of_the_file_keeps_the_old_content(
    workspace: Workspace, root: Path, tmp_path: Path
) -> None:
    (root / "hard").hardlink_to(tmp_path / "outside/secret.txt")
    workspace.apply([text_change(workspace.read("hard"), "mine")])
    assert (tmp_path / "outside/secret.txt").read_text() == "secret"
    assert (root / "hard").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (Change("src/app.py", b"y", expect=b"x = 0\n"), "changed on disk since it was read"),
        (Change("src/app.py", None, expect=b""), "changed on disk since it was read"),
        (Change("src/app.py", b"y"), "exists already"),
        (Change("gone", b"y", expect=b""), "no longer exists"),
        (Change("src", b"y"), "is a directory"),
        (Change("src/app.py/x", b"y"), "goes through a file"),
        (Change("file", b"y", expect=b"x = 1\n"), "symbolic link to src/app.py"),
        (Change("folder/new.py", b"y"), "symbolic link to src"),
        (Change("out/new.py", b"y"), r"symbolic link to \.\./outside"),
        (Change("dangling", b"y"), "symbolic link to nowhere"),
        (Change("fifo", b"y", expect=b""), "not a regular file"),
        (Change(".git/hooks/post-commit", b"y"), "git's own"),
        (Change("../outside/new", b"y"), "above"),
        (Change("./a", b"2"), "changed twice"),
        (Change("a/b", b"2"), "nothing was changed: "),
    ],
)
def test_one_bad_change_refuses_them_all(workspace: Workspace, root: Path, change: Change, says: str) -> None:
    (root / "file").symlink_to("src/app.py")
    (root / "folder").symlink_to("src")
    (root / "out").symlink_to("../outside")
    (root / "dangling").symlink_to("nowhere")
    (root / "update").write_text("old")
    (root / "delete").write_text("old")
    os.mkfifo(root / "fifo")
    before = {**tree(root.parent), "fifo": stat.S_ISFIFO((root / "fifo").stat().st_mode)}
    good = [
        Change("update", b"new", expect=b"old"),
        Change("delete", None, expect=b"old"),
        Change("new/dir/file", b"new"),
        Change("a", b"1"),
    ]
    for changes in ([*good, change], [change, *good]):
        with pytest.raises(ToolError, match=says):
            workspace.apply(changes)
        assert {**tree(root.parent), "fifo": stat.S_ISFIFO((root / "fifo").stat().st_mode)} == before


def test_a_text_that_the_encoding_lacks_is_refused(workspace: Workspace, root: Path) -> None:
    (root / "old.txt").write_bytes(b"caf\xe9")
    file = workspace.read("old.txt")
    assert text_change(file, "thé") == Change("old.txt", b"th\xe9", expect=b"caf\xe9")
    with pytest.raises(ToolError, match=r"old\.txt is latin-1, which cannot hold '\\u20ac'"):
        text_change(file, "5 €")


def test_more_directories_than_descriptors_are_refused(workspace: Workspace, root: Path) -> None:
    before = tree(root)
    with pytest.raises(ToolError, match="more than 200 directories"):
        workspace.apply([Change(f"d{number}/x", b"") for number in range(300)])
    assert tree(root) == before


@pytest.mark.slow
def test_a_file_that_is_saved_while_changes_are_staged_is_not_overwritten(tmp_path: Path) -> None:
    """The user's editor saves as soon as the first temporary file is there."""
    import threading

    (tmp_path / "a.txt").write_text("old\n")
    large = b"x" * (8 * 1024 * 1024)

    def save() -> None:
        while not list(tmp_path.glob(".glm-agent-*")):
            pass
        (tmp_path / "a.txt").write_text("the user's\n")

    user = threading.Thread(target=save)
    user.start()
    staged = [Change("a.txt", b"ours\n", expect=b"old\n"), *(Change(f"{n}.bin", large) for n in range(4))]
    with pytest.raises(ToolError, match=r"a\.txt changed on disk since it was read; read it again"):
        Workspace(tmp_path).apply(staged)
    user.join()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "the user's\n"


def test_paths_are_named_for_one_line() -> None:
    assert named([]) == ""
    assert named(["a b", "ü", "x\ny"]) == "a b, ü, 'x\\ny'"
    assert named([*"abcdefg"]) == "a, b, c, d, e and 2 more"
