"""Repositories that attack whoever calls git in them, each built for real.

A trap's payload leaves its name in the canary file. `fires` is what plain git does to set it off.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from running import git, make_repository

FILES = {
    "calc.py": "def add(a, b):\n    return a - b\n",
    "data.txt": "one\n",
    "sub/more.txt": "two\n",
    "sub/deep.py": "add = 1\n",
}


class Place(NamedTuple):
    """Where a trap is built; `outside` is not in the repository."""

    repo: Path
    outside: Path
    name: str

    @property
    def canary(self) -> Path:
        return self.outside / "canary"

    @property
    def payload(self) -> str:
        """A program that leaves the trap's name."""
        script = self.outside / f"payload-{self.name}"
        script.write_text(f"#!/bin/sh\necho '{self.name}' >> '{self.canary}'\n")
        script.chmod(0o755)
        return str(script)

    def set(self, **settings: str) -> None:
        """Settings of the repository; `__` stands for a dot, and `PAYLOAD` for the payload."""
        for name, value in settings.items():
            self.put(name.replace("__", "."), value)

    def put(self, name: str, value: str, *options: str) -> None:
        name, value = (text.replace("PAYLOAD", self.payload) for text in (name, value))
        git(self.repo, "config", *(options or ("--local",)), name, value)

    def write(self, name: str, text: str) -> Path:
        """A file of the repository, with `text` behind what it holds already."""
        file = self.repo / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as opened:
            opened.write(text.replace("PAYLOAD", self.payload))
        return file

    def hook(self, folder: str) -> None:
        for name in ("pre-commit", "post-index-change", "post-commit", "reference-transaction"):
            hook = self.repo / folder / name
            hook.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.payload, hook)


Build = Callable[[Place], None]


class Trap(NamedTuple):
    """`refused` is part of the reason why a run is refused; where it is empty, runs work as ever.

    `folder` is where they run, and `since` the first git that has what the trap needs.
    """

    name: str
    build: Build
    fires: str = "git status"
    refused: str = ""
    folder: str = "."
    alone: bool = False
    env: Mapping[str, str] = {}
    since: tuple[int, int] = (2, 31)


def new_repository(folder: Path) -> Path:
    """A repository in which there is a change to look at."""
    repo = make_repository(folder, FILES)
    (repo / "data.txt").write_text("uno\n")  # of the same size: git has to look inside
    return repo


def settings(**values: str) -> Build:
    return lambda place: place.set(**values)


def driver(kind: str, key: str, name: str = "", *, attributes: str = ".gitattributes") -> Build:
    """A driver for text files, with a name of its own unless it is given."""

    def build(place: Place) -> None:
        called = name or place.name
        place.put(f"{kind}.{called}.{key}", "PAYLOAD")
        place.write(attributes, f"*.txt {kind}={called}\n")

    return build


def in_file(name: str, *before: tuple[str, str]) -> Build:
    """A watcher of the file system, configured in a file that the settings `before` make git read."""

    def build(place: Place) -> None:
        for key, value in before:
            place.put(key, value)
        place.write(name, "[core]\n\tfsmonitor = PAYLOAD\n")

    return build


def remote(url: str, **values: str) -> Build:
    def build(place: Place) -> None:
        place.put(f"remote.{place.name}.url", url)
        for key, value in values.items():
            place.put(key.replace("__", ".").replace("REMOTE", place.name), value)

    return build


def _hooks(place: Place) -> None:
    place.hook(".git/hooks")


def _hooks_path(place: Place) -> None:
    place.hook("hooks")
    place.put("core.hooksPath", "hooks")


def _commondir(place: Place) -> None:
    shutil.copytree(place.repo / ".git", place.repo / "evil")
    place.write("evil/config", "[core]\n\tfsmonitor = PAYLOAD\n")
    place.write(".git/commondir", "../evil\n")


def _git_file(place: Place) -> None:
    place.put("core.fsmonitor", "PAYLOAD")
    (place.repo / ".git").rename(place.repo / "evil")
    place.write(".git", "gitdir: evil\n")


def _redirect_below(place: Place) -> None:
    shutil.copytree(place.repo / ".git", place.repo / "evil")
    place.write("evil/config", "[core]\n\tfsmonitor = PAYLOAD\n")
    place.write("sub/.git", "gitdir: ../evil\n")


def _redirect_with_a_false_back_pointer(place: Place) -> None:
    _redirect_below(place)
    place.write("evil/gitdir", "../sub/.git\n")
    place.write("evil/commondir", ".\n")


def _bare_below(place: Place) -> None:
    shutil.copytree(place.repo / ".git", place.repo / "bare.git")
    place.write("bare.git/config", "[core]\n\tworktree = ..\n\tfsmonitor = PAYLOAD\n")
    (place.repo / "bare.git" / "index").unlink()


def _signed(place: Place) -> None:
    """A commit that claims to be signed, and a program to check it with."""
    place.set(gpg__program="PAYLOAD", log__showSignature="true")
    commit = git(place.repo, "cat-file", "commit", "HEAD")
    head, _, message = commit.partition("\n\n")
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
    (place.repo / ".git" / "signed").write_text(f"{head}\n{signature}\n\n{message}")
    made = git(place.repo, "hash-object", "-t", "commit", "-w", ".git/signed").strip()
    git(place.repo, "update-ref", "HEAD", made)


def _merge(place: Place) -> None:
    driver("merge", "driver")(place)
    git(place.repo, "stash", "--quiet")
    for branch, text in (("theirs", "a\n"), ("ours", "b\n")):
        git(place.repo, "checkout", "--quiet", "-b", branch, "main")
        (place.repo / "data.txt").write_text(text)
        git(place.repo, "commit", "--quiet", "-am", branch)


def _submodule(place: Place) -> None:
    source = new_repository(place.outside / "source")
    add = ("submodule", "--quiet", "add", str(source), "module")
    git(place.repo, "-c", "protocol.file.allow=always", *add)
    place.put("core.fsmonitor", "PAYLOAD", "--file", str(place.repo / ".git/modules/module/config"))


def _embedded(place: Place) -> None:
    """A repository inside the other, known to its index as a submodule would be."""
    inner = new_repository(place.repo / f"inner-{place.name}")
    place.put("core.fsmonitor", "PAYLOAD", "--file", str(inner / ".git/config"))
    git(place.repo, "-c", "advice.addEmbeddedRepo=false", "add", inner.name)


def _untracked_inner(place: Place) -> None:
    inner = new_repository(place.repo / "untracked")
    place.put("core.fsmonitor", "PAYLOAD", "--file", str(inner / ".git/config"))


def _partial_clone(place: Place) -> None:
    """A blob is missing, and whoever wants it calls the payload to fetch it."""
    source = new_repository(place.outside / "source-of-partial")
    place.put("remote.lazy.url", f"file://{source}")
    place.set(remote__lazy__promisor="true", remote__lazy__uploadpack="PAYLOAD")
    place.set(extensions__partialClone="lazy", core__repositoryFormatVersion="1")
    blob = git(place.repo, "rev-parse", "HEAD:sub/more.txt").strip()
    (place.repo / ".git/objects" / blob[:2] / blob[2:]).unlink()


def _attributes_in_a_tree(place: Place) -> None:
    driver("filter", "clean")(place)
    git(place.repo, "add", ".gitattributes")
    git(place.repo, "-c", "filter.attr-tree.clean=", "commit", "--quiet", "-m", "attributes")
    git(place.repo, "rm", "--quiet", ".gitattributes")
    place.put("attr.tree", "HEAD")


def _variables(name: str) -> dict[str, str]:
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": name, "GIT_CONFIG_VALUE_0": "{payload}"}


_ADD_P = "echo q | script -qec 'git add -p' /dev/null"

# Programs that run when somebody looks at the state, or changes it.
LOCAL = (
    Trap("fsmonitor", settings(core__fsmonitor="PAYLOAD")),
    Trap("hooks", _hooks, "git commit --allow-empty -m x"),
    Trap("hooks-path", _hooks_path, "git commit --allow-empty -m x"),
    Trap("clean", driver("filter", "clean")),
    Trap("smudge", driver("filter", "smudge"), "git checkout -f -- data.txt"),
    Trap("process", driver("filter", "process")),
    Trap("clean-with-equals", driver("filter", "clean", "a=b")),
    Trap("smudge-with-equals", driver("filter", "smudge", "c=d=e"), "git checkout -f -- data.txt"),
    Trap("process-with-equals", driver("filter", "process", "=")),
    Trap("clean-with-dots", driver("filter", "clean", "a.b.clean")),
    Trap("clean-in-info", driver("filter", "clean", attributes=".git/info/attributes")),
    Trap(
        "clean-below", driver("filter", "clean", attributes="sub/.gitattributes"), "git add --renormalize ."
    ),
    Trap("attr-tree", _attributes_in_a_tree, since=(2, 43), alone=True),
    Trap("diff-external", settings(diff__external="PAYLOAD"), "git diff", alone=True),
    Trap("textconv", driver("diff", "textconv"), "git diff"),
    Trap("diff-command", driver("diff", "command"), "git diff"),
    Trap("textconv-with-equals", driver("diff", "textconv", "x=y"), "git diff"),
    # … and where their settings come from
    Trap("include", in_file("evil-1.cfg", ("include.path", "../evil-1.cfg"))),
    Trap("include-if-gitdir", in_file("evil-2.cfg", ("includeIf.gitdir:/**.path", "../evil-2.cfg"))),
    Trap("include-if-branch", in_file("evil-3.cfg", ("includeIf.onbranch:m*.path", "../evil-3.cfg"))),
    Trap("worktree-config", in_file(".git/config.worktree", ("extensions.worktreeConfig", "true"))),
    Trap("commondir", _commondir, refused=".git/commondir", alone=True),
    Trap("git-file", _git_file, refused=".git leads to", alone=True),
    Trap("redirect-below", _redirect_below, "git -C sub status", "sub/.git leads to", "sub", alone=True),
    Trap(
        *("false-back-pointer", _redirect_with_a_false_back_pointer, "git -C sub status"),
        *("sub/.git leads to", "sub", True),
    ),
    Trap("bare-below", _bare_below, "git -C bare.git status", folder="bare.git", alone=True),
    Trap("submodule", _submodule),
    Trap("embedded", _embedded),
    Trap("embedded-untracked", _untracked_inner, "git -C untracked status"),
)
# Programs for signatures, the network, and people.
REMOTE = (
    Trap("show-signature", _signed, "git log"),
    Trap("sign", settings(gpg__program="PAYLOAD", commit__gpgSign="true"), "git commit --allow-empty -m x"),
    Trap(
        "ssh-key-command",
        settings(gpg__format="ssh", gpg__ssh__defaultKeyCommand="PAYLOAD", commit__gpgSign="true"),
        "git commit --allow-empty -m x",
    ),
    Trap("ssh-command", remote("ssh://localhost/x", core__sshCommand="PAYLOAD"), "git fetch ssh-command"),
    Trap("git-proxy", remote("git://localhost/x", core__gitProxy="PAYLOAD"), "git fetch git-proxy"),
    Trap("ext", remote("ext::PAYLOAD", protocol__ext__allow="always"), "git fetch ext"),
    Trap(
        "instead-of",
        remote("https://localhost/x", **{"url__ext::PAYLOAD __insteadOf": "https://localhost/"}),
        "git -c protocol.ext.allow=always fetch instead-of",
    ),
    Trap("upload-pack", remote(".", remote__REMOTE__uploadpack="PAYLOAD"), "git fetch upload-pack"),
    Trap("receive-pack", remote(".", remote__REMOTE__receivepack="PAYLOAD"), "git push receive-pack HEAD:x"),
    Trap("vcs", remote("PAYLOAD", remote__REMOTE__vcs="ext"), "git -c protocol.ext.allow=always fetch vcs"),
    Trap("partial-clone", _partial_clone, "git cat-file -p HEAD:sub/more.txt"),
    Trap("credential", settings(credential__helper="!PAYLOAD"), "echo url=https://h | git credential fill"),
    Trap(
        *("credential-for-host", settings(**{"credential__https://h__helper": "!PAYLOAD"})),
        "echo url=https://h | git credential fill",
    ),
    Trap("ask-pass", settings(core__askPass="PAYLOAD"), "echo url=https://h | git credential fill"),
    Trap("pager", settings(core__pager="PAYLOAD"), "script -qec 'git log' /dev/null"),
    Trap("pager-of-command", settings(pager__status="PAYLOAD"), "script -qec 'git status' /dev/null"),
    Trap("editor", settings(core__editor="PAYLOAD"), "git commit --allow-empty"),
    Trap("sequence-editor", settings(sequence__editor="PAYLOAD"), "git stash; git rebase -i --root"),
    Trap("diff-filter", settings(interactive__diffFilter="PAYLOAD"), _ADD_P),
    Trap("difftool", settings(diff__tool="x", difftool__x__cmd="PAYLOAD"), "git difftool -y"),
    Trap("alias", settings(alias__st="!PAYLOAD", alias__status="!PAYLOAD", alias__grep="!PAYLOAD"), "git st"),
    Trap("merge-driver", _merge, "git merge theirs", alone=True),
    Trap("trailer", settings(trailer__x__command="PAYLOAD"), "echo | git interpret-trailers --trailer x=1"),
    Trap("trailer-cmd", settings(trailer__y__cmd="PAYLOAD"), "echo | git interpret-trailers --trailer y=1"),
    Trap("recent-objects", settings(gc__recentObjectsHook="PAYLOAD"), "git prune --expire=1", since=(2, 42)),
    Trap(
        *("configured-hook", settings(hook__x__command="PAYLOAD", hook__x__event="pre-commit")),
        "git commit --allow-empty -m x",
        since=(2, 54),
    ),
)
# What the environment of the caller chooses.
AROUND = (
    *(
        Trap(name, settings(), fires, env=env, alone=True)
        for name, fires, env in (
            ("env-dir", "git status", {"GIT_DIR": "{outside}/theirs/.git"}),
            ("env-config", "git status", {"GIT_CONFIG_GLOBAL": "{outside}/theirs/.git/config"}),
            ("env-count", "git status", _variables("core.fsmonitor")),
            ("env-parameters", "git status", {"GIT_CONFIG_PARAMETERS": "'core.fsmonitor={payload}'"}),
            ("env-diff", "git diff", {"GIT_EXTERNAL_DIFF": "{payload}"}),
            ("env-pager", "script -qec 'git log' /dev/null", {"GIT_PAGER": "{payload}"}),
            ("env-ssh", "git fetch ssh://h/x", {"GIT_SSH_COMMAND": "{payload}"}),
        )
    ),
)

TRAPS = (*LOCAL, *REMOTE, *AROUND)


def _fifo(name: str) -> Build:
    def build(place: Place) -> None:
        file = place.repo / name
        file.unlink(missing_ok=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(file)

    return build


def _configured_fifo(key: str) -> Build:
    def build(place: Place) -> None:
        os.mkfifo(place.outside / "wait")
        place.put(key, str(place.outside / "wait"))

    return build


def _modules(place: Place) -> None:
    head = git(place.repo, "rev-parse", "HEAD").strip()
    git(place.repo, "update-index", "--add", "--cacheinfo", f"160000,{head},module")
    _fifo(".gitmodules")(place)


def _inner_fifo(place: Place) -> None:
    inner = new_repository(place.repo / "inner")
    (inner / ".git/HEAD").unlink()
    os.mkfifo(inner / ".git/HEAD")


# Git waits for these for ever.
HANGS = (
    *(
        Trap(name.replace("/", "-"), _fifo(f".git/{name}"), fires, f".git/{name} is not a regular file")
        for name, fires in (
            ("index", "git status"),
            ("HEAD", "git status"),
            ("config", "git status"),
            ("packed-refs", "git for-each-ref"),
            ("info/exclude", "git status"),
            ("info/attributes", "git add ."),
            ("objects/info/alternates", "git cat-file -e 1234567890123456789012345678901234567890"),
        )
    ),
    Trap("attributes", _fifo(".gitattributes"), "git add .", ".gitattributes is not a regular file"),
    Trap("ignore", _fifo(".gitignore"), "git status", ".gitignore is not a regular file"),
    Trap("modules", _modules, "git submodule", ".gitmodules is not a regular file"),
    Trap("excludes-file", _configured_fifo("core.excludesFile")),
    Trap("attributes-file", _configured_fifo("core.attributesFile"), "git add ."),
)
# And for these too, which only a look at the whole tree can find: it is taken when git does not answer.
LATE_HANGS = (
    Trap("ignore-below", _fifo("sub/new/.gitignore"), refused="sub/new/.gitignore is not a regular file"),
    Trap("branch", _fifo(".git/refs/heads/main"), refused=".git/refs/heads/main is not a regular file"),
    Trap("inner-head", _inner_fifo, refused="inner/.git/HEAD is not a regular file"),
    Trap("included", _configured_fifo("include.path"), refused="wait is not a regular file"),
)
