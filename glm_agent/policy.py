"""Which files a run may not write, or not unnoticed: what they hold is run later, and nobody looks again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

# What tells an agent or an editor what it may do: no task needs it, and a flag cannot open it.
_AGENTS = (
    *(".glm-agent.toml", ".glm-agent/**", ".claude/**", ".mcp.json", ".cursor/**", ".codex/**", ".gemini/**"),
    *(".opencode/**", "opencode.json", "opencode.jsonc", ".aider.conf.yml", ".kimi/**", ".vibe/**"),
    *(".qwen/**", ".windsurf/**", ".roo/**", ".continue/**", ".amp/**", ".zed/settings.json"),
    *(".vscode/settings.json", ".vscode/mcp.json"),
)
# What a server, a hook or an editor runs by itself: only where the user names it.
_AUTOMATIC = (
    *(".github/workflows/**", ".github/actions/**", ".gitlab-ci.yml", ".gitlab/ci/**", ".circleci/**"),
    *("jenkinsfile", "azure-pipelines.yml", ".azure-pipelines/**", ".travis.yml", "bitbucket-pipelines.yml"),
    *(".drone.yml", ".buildkite/**", ".woodpecker.yml", ".woodpecker/**", ".appveyor.yml", "appveyor.yml"),
    *(".forgejo/workflows/**", ".gitea/workflows/**", ".teamcity/**", "cloudbuild.yaml", ".tekton/**"),
    *(".husky/**", ".githooks/**", ".git-hooks/**", "lefthook.yml", ".lefthook.yml"),
    *(".pre-commit-config.yaml", ".envrc", ".vscode/tasks.json", ".vscode/launch.json", ".zed/tasks.json"),
    *(".idea/runconfigurations/**", ".run/**", ".devcontainer/**", ".devcontainer.json", ".gitpod.yml"),
    *(".mise.toml", "mise.toml", ".tool-versions", ".autoenv.zsh", ".lvimrc", ".exrc", ".nvim.lua"),
)
# What the next build or test runs, and every task may have to change: named in the result.
_LATER = re.compile(
    r"(?:^|/)(?:conftest\.py|setup\.py|setup\.cfg|pyproject\.toml|tox\.ini|pytest\.ini|noxfile\.py|tasks\.py"
    r"|(?:site|user)customize\.py|[^/]+\.pth|manage\.py|(?:gnu)?makefile|[^/]+\.mk|justfile|taskfile\.ya?ml|rakefile"
    r"|gemfile|package\.json|[^/]+\.gyp|\.npmrc|\.yarnrc(?:\.yml)?|\.pnpmfile\.cjs|(?:[a-z]+\.)?config\.[cm]?[jt]s"
    r"|(?:jest|vite|vitest|webpack|rollup|babel|eslint|karma|gulp|grunt|playwright|cypress)[a-z.]*\.[cm]?[jt]s"
    r"|gulpfile\.js|gruntfile\.js|build\.rs|cargo\.toml|\.cargo/config(?:\.toml)?|cmakelists\.txt|[^/]+\.cmake"
    r"|build\.gradle(?:\.kts)?|settings\.gradle(?:\.kts)?|gradlew|mvnw|pom\.xml|build\.xml|build\.sbt"
    r"|dockerfile[^/]*|[^/]+\.dockerfile|(?:docker-)?compose[^/]*\.ya?ml|procfile|vagrantfile|configure(?:\.ac)?"
    r"|\.gitattributes|\.gitmodules|agents\.md|claude\.md|gemini\.md|\.cursorrules)$"
)


def forbidden(path: str, allowed: Sequence[str] = ()) -> str | None:
    """Why the file at `path`, '/'-separated beneath the root, may not be written; None if it may.

    `allowed` are globs of what the user lets a run write although it is run automatically.
    """
    lower = path.casefold()
    if _fits(lower, _AGENTS):
        return "it tells agents or editors what they may do"
    if _fits(lower, _AUTOMATIC) and not any(fnmatchcase(path, glob) for glob in allowed):
        return "it is run automatically, by a server, a hook or an editor"
    return None


def runs_later(path: str) -> bool:
    """Whether a build, a test, git or another agent runs or obeys what the file at `path` holds."""
    lower = path.casefold()
    return _LATER.search(lower) is not None or _fits(lower, (*_AGENTS, *_AUTOMATIC))


def _fits(path: str, globs: Sequence[str]) -> bool:
    """Whether `path` or any part of it from some directory on fits: tools look for these at every level."""
    parts = path.split("/")
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    return any(_is_meant(tail, glob) for glob in globs for tail in tails)


def _is_meant(path: str, glob: str) -> bool:
    return path.startswith(glob[:-2]) if glob.endswith("/**") else path == glob
