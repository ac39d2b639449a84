"""Which files a run may not write, or not unnoticed: what they hold is run later, and nobody looks again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, partial
from typing import NamedTuple

from .globs import fits

# What tells an agent or an editor what it may do: no task needs it, and a flag cannot open it.
_AGENTS = (
    *(".glm-agent.toml", ".glm-agent/**", ".claude/**", ".mcp.json", ".cursor/**", ".codex/**", ".gemini/**"),
    *(".opencode/**", "opencode.json", "opencode.jsonc", ".aider.conf.yml", ".kimi/**", ".vibe/**"),
    *(".qwen/**", ".windsurf/**", ".roo/**", ".continue/**", ".amp/**", ".zed/settings.json"),
    *(".vscode/settings.json", ".vscode/mcp.json", ".kiro/**", ".trae/**", ".augment/**", "crush.json"),
    ".crush.json",
)
# What a server, a hook or an editor runs by itself: only where the user names it.
_AUTOMATIC = (
    *(".github/workflows/**", ".github/actions/**", ".gitlab-ci.yml", ".gitlab/ci/**", ".circleci/**"),
    *("Jenkinsfile", "azure-pipelines.yml", ".azure-pipelines/**", ".travis.yml", "bitbucket-pipelines.yml"),
    *(".drone.yml", ".buildkite/**", ".woodpecker.yml", ".woodpecker/**", ".appveyor.yml", "appveyor.yml"),
    *(".forgejo/workflows/**", ".gitea/workflows/**", ".teamcity/**", "cloudbuild.yaml", ".tekton/**"),
    *(".husky/**", ".githooks/**", ".git-hooks/**", "lefthook.yml", ".lefthook.yml"),
    *(".pre-commit-config.yaml", ".envrc", ".vscode/tasks.json", ".vscode/launch.json", ".zed/tasks.json"),
    *(".idea/runConfigurations/**", ".run/**", ".devcontainer/**", ".devcontainer.json", ".gitpod.yml"),
    *(".mise.toml", "mise.toml", ".tool-versions", ".autoenv.zsh", ".lvimrc", ".exrc", ".nvim.lua"),
    *(".nvimrc", ".dir-locals.el", ".gdbinit", ".lldbinit"),
)
# What the next build or test runs, and every task may have to change: named in the result. Compiled at need.
_LATER = (
    r"(?:^|/)(?:conftest\.py|setup\.py|setup\.cfg|pyproject\.toml|tox\.ini|pytest\.ini|noxfile\.py|tasks\.py"
    r"|(?:site|user)customize\.py|[^/]+\.pth|manage\.py|(?:gnu)?makefile|[^/]+\.mk|justfile|taskfile\.ya?ml|rakefile"
    r"|gemfile|package\.json|[^/]+\.gyp|\.npmrc|\.yarnrc(?:\.yml)?|\.pnpmfile\.cjs|(?:[a-z]+\.)?config\.[cm]?[jt]s"
    r"|(?:jest|vite|vitest|webpack|rollup|babel|eslint|karma|gulp|grunt|playwright|cypress)[a-z.]*\.[cm]?[jt]s"
    r"|gulpfile\.js|gruntfile\.js|build\.rs|cargo\.toml|\.cargo/config(?:\.toml)?|cmakelists\.txt|[^/]+\.cmake"
    r"|build\.gradle(?:\.kts)?|settings\.gradle(?:\.kts)?|gradlew|mvnw|pom\.xml|build\.xml|build\.sbt"
    r"|dockerfile[^/]*|[^/]+\.dockerfile|(?:docker-)?compose[^/]*\.ya?ml|procfile|vagrantfile|configure(?:\.ac)?"
    r"|\.(?:bash|zsh)(?:rc|env)|\.(?:bash_|z)?profile|\.bash_log(?:in|out)|\.zlog(?:in|out)|\.inputrc|\.vimrc"
    r"|\.gitconfig|\.config/git/config|\.ssh/(?:config|rc|authorized_keys)|crontab"
    r"|\.(?:pdb|irb|pry|bazel)rc|\.rspec|\.justfile|pyvenv\.cfg|[^/]+\.code-workspace|[^/]+\.sublime-project"
    r"|\.idea/workspace\.xml|rust-toolchain(?:\.toml)?"
    r"|\.gitattributes|\.gitmodules|(?:agents|claude|gemini)(?:\.local)?\.md|\.github/copilot-instructions\.md"
    r"|\.(?:cursor|cline|windsurf)rules|\.goosehints)$"
)


# What git runs, in the folder that `core.hooksPath` names.
HOOKS = (
    *("applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit", "post-commit"),
    *("prepare-commit-msg", "commit-msg", "pre-rebase", "post-checkout", "post-merge", "post-rewrite"),
    *("pre-push", "pre-auto-gc", "push-to-checkout", "sendemail-validate", "fsmonitor-watchman"),
    *("post-index-change", "reference-transaction", "pre-receive", "update", "post-receive", "post-update"),
)


class Also(NamedTuple):
    """Files and folders beneath the root, without a slash at their end, that this user has made special."""

    ours: tuple[str, ...] = ()  # hold our own configuration and state: the root is a home
    hooks: tuple[str, ...] = ()  # git runs what is in them


_NOTHING = Also()


def forbidden(path: str, allowed: Sequence[str] = (), also: Also = _NOTHING) -> str | None:
    """Why the file at `path`, '/'-separated beneath the root, may not be written; None if it may.

    `allowed` are globs of what the user lets a run write although it is run automatically.
    """
    lower = path.casefold()
    if _fits(lower, _AGENTS) or _is_in(lower, also.ours):
        return "it tells agents or editors what they may do"
    is_automatic = _fits(lower, _AUTOMATIC) or _is_in(lower, also.hooks)
    if is_automatic and not fits(path, allowed):
        return "it is run automatically, by a server, a hook or an editor"
    return None


def protected(allowed: Sequence[str] = (), also: Also = _NOTHING) -> tuple[str, ...]:
    """Files and folders beneath the root that a command may neither change nor make, `.git` the first.

    For deeper ones of the same names, which are looked for, see `is_kept`.
    """
    names = [*map(_place, _AUTOMATIC), *also.hooks]
    shut = [name for name in names if not any(map(partial(_is_open, name), allowed))]
    return tuple(dict.fromkeys([".git", *map(_place, _AGENTS), *also.ours, *shut]))


def is_kept(path: str, allowed: Sequence[str] = ()) -> bool:
    """Whether what exists at `path`, at any depth, is a file or folder that a command may not change."""
    places = _places().get(path.rpartition("/")[2].casefold())
    for place in places or ():
        lower = path.casefold()
        if lower == place or lower.endswith(f"/{place}"):
            return place in _agents() or not any(map(partial(_is_open, path), allowed))
    return False


def runs_later(path: str) -> bool:
    """Whether a build, a test, git or another agent runs or obeys what the file at `path` holds."""
    lower = path.casefold()
    return re.search(_LATER, lower) is not None or _fits(lower, (*_AGENTS, *_AUTOMATIC))


@cache
def _places() -> dict[str, list[str]]:
    """By their last names: most files have another one, and are passed over at once."""
    found: dict[str, list[str]] = {}
    for glob in (*_AGENTS, *_AUTOMATIC):
        place = _place(glob).casefold()
        found.setdefault(place.rpartition("/")[2], []).append(place)
    return found


@cache
def _agents() -> frozenset[str]:
    return frozenset(_place(glob).casefold() for glob in _AGENTS)


def _place(glob: str) -> str:
    return glob.removesuffix("/**")


def _is_open(name: str, allowed: str) -> bool:
    return fits(f"{name}/file", [allowed])


def _is_in(path: str, folders: Sequence[str]) -> bool:
    return any(f"{path}/".startswith(f"{folder.casefold()}/") for folder in folders)


def _fits(path: str, globs: Sequence[str]) -> bool:
    """Whether `path` or any part of it from some directory on fits: tools look for these at every level."""
    parts = path.split("/")
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    return any(_is_meant(tail, glob) for glob in globs for tail in tails)


def _is_meant(path: str, glob: str) -> bool:
    glob = glob.casefold()
    return path.startswith(glob[:-2]) if glob.endswith("/**") else path == glob
