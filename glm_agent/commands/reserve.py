"""What of a tree is kept from the model, found out once in a run: secrets, and what runs later."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from .. import config, git, policy
from ..hiding import Survey, survey
from ..secrets import Secrets
from ..settings import Settings


class Reserve:
    """Of the tree at `top`, with git if `is_repository`. Everything is looked for when it is needed.

    Of a private `copy` of it what is secret is known from the original, and looked for at once: in the copy
    everything is tracked and has one name, and the threads of its file tools do not reach the original.
    """

    def __init__(self, settings: Settings, top: Path, is_repository: bool, copy: Path | None = None) -> None:
        self._settings = settings
        self._top = top.resolve()
        self._copy = copy
        self._is_repository = is_repository
        self._tracked: dict[str, bool] = {}
        self._survey: Survey | None = None
        self._aliases: frozenset[str] = frozenset()
        self.secrets = Secrets(
            settings.allow_secrets, self._is_tracked, lambda: self.survey().inodes, lambda: self._aliases
        )
        if copy:
            self._look_ahead()

    def forbidden(self, path: str) -> str | None:
        """Why the file at `path` may not be written."""
        return policy.forbidden(path, self._settings.allow_path, self.also)

    def protected(self) -> tuple[str, ...]:
        return policy.protected(self._settings.allow_path, self.also)

    def survey(self, *, anew: bool = False) -> Survey:
        """What is in the tree, as of the first time, or now."""
        if anew or self._survey is None:
            found = survey(self._top, self.secrets, self._is_kept)
            if self._copy:  # which is what commands can move things in
                there = survey(self._copy, Secrets(("*",)), self._is_kept)
                found = found._replace(kept=there.kept, whole=found.whole and there.whole)
            self._survey = found
        return self._survey

    @cached_property
    def also(self) -> policy.Also:
        """What is special in this tree besides the usual: our own folders, and where git's hooks are."""
        homes = (config.config_home().resolve(), config.state_home().resolve())
        # made by us during a command, it would be taken for the command's
        ours = [
            home for home in homes if home.is_relative_to(self._top) and (home == homes[0] or home.exists())
        ]
        return policy.Also(tuple(str(home.relative_to(self._top)) for home in ours), self._hooks())

    def _is_kept(self, path: str) -> bool:
        return policy.is_kept(path, self._settings.allow_path)

    def _look_ahead(self) -> None:
        if self._is_repository:
            tracked = git.run(self._top, "ls-files", "-z").split(b"\0")[:-1]
            self._tracked = dict.fromkeys(map(os.fsdecode, tracked), True)
        self._aliases = frozenset(str(path.relative_to(self._top)) for path in self.survey().secrets)

    def _is_tracked(self, path: str) -> bool:
        if path not in self._tracked and self._copy:
            return False
        if path not in self._tracked:
            self._tracked[path] = self._is_repository and bool(
                git.run(self._top, "ls-files", "-z", "--", f":(literal){path}")
            )
        return self._tracked[path]

    def _hooks(self) -> tuple[str, ...]:
        """Where in the tree git finds hooks by its settings: the repository's, the user's, the system's."""
        if not self._is_repository:
            return ()
        env = self._settings.environment
        words = ("config", "--includes", "-z", "--get-all", "core.hooksPath")
        said = git.run(self._top, *words, ok=(0, 1))
        for file in _global_settings(env):
            with suppress(git.GitError):  # then it is of no use to the user's own git either
                more = {"GIT_CONFIG_GLOBAL": str(file), "GIT_CONFIG_NOSYSTEM": "0"}
                said += git.run(self._top, *words, ok=(0, 1), env=more)
        found: dict[str, None] = {}
        for value in filter(None, said.split(b"\0")):
            found |= dict.fromkeys(self._hooks_in(os.fsdecode(value), env.get("HOME", "/")))
        return tuple(found)

    def _hooks_in(self, value: str, home: str) -> tuple[str, ...]:
        """At the root, which must be writable, hooks one by one; else the folder, and where links lead."""
        named = self._top / (home + value[1:] if value.startswith("~/") else value)
        folders = {Path(os.path.normpath(named)), Path(os.path.realpath(named))}
        if self._top in folders:
            return policy.HOOKS
        return tuple(str(folder.relative_to(self._top)) for folder in folders if self._top in folder.parents)


def _global_settings(env: Mapping[str, str]) -> list[Path]:
    """The files that the user's own git reads besides the repository's."""
    if named := env.get("GIT_CONFIG_GLOBAL"):
        return [Path(named)]
    home = Path(env.get("HOME", "/"))
    folder = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home / ".config"
    files = [file for file in (folder / "git/config", home / ".gitconfig") if file.is_file()]
    return files or [Path(os.devnull)]  # the system's are read all the same
