"""How the commands of a run are kept in: as the user asked and the kernel allows, and never silently less."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .. import config, git, gitdir, policy, sandbox
from ..errors import SandboxError, UsageError
from ..hiding import masked_settings, secret_files
from ..intents import Intents
from ..sandbox import Offer, Policy, Ran, Runner, Tier
from ..secrets import Secrets
from ..types import Json
from ..workspace import Workspace
from . import state
from .conduct import Stage

_USUAL = {"ask": "read-only", "fix": "workspace-write"}
_FREE = "danger-full-access"
_WAYS_ON = (
    "enable user namespaces (glm-agent doctor says what is missing), use a container that has them, or in a "
    "machine to throw away: --sandbox danger-full-access"
)
_MECHANISMS = {"A": "namespaces+landlock+seccomp", "B": "landlock+seccomp"}


class Confinement(NamedTuple):
    """`run` is None where no command may be run; `notices` are for the user."""

    mode: str
    tier: Tier | None
    network: bool
    gaps: tuple[str, ...]
    run: Runner | None
    notices: list[str]

    def record(self) -> Json:
        """What `init` says of it."""
        mechanism = _MECHANISMS[self.tier] if self.tier else "none"
        network = self.network or self.mode == _FREE
        known: Json = {"mode": self.mode, "mechanism": mechanism, "network": network}
        return {**known, "tier": self.tier, "gaps": list(self.gaps)}

    def runner(self) -> Runner:
        """What runs the user's own commands. Raises SandboxError where there is none."""
        if self.run is None:
            raise SandboxError(f"--verify runs in a sandbox, which cannot be had here; {_WAYS_ON}")
        return self.run


def open_workspace(stage: Stage, intents: Intents) -> Workspace:
    """The files of the run, but for secrets, and for what runs by itself, unless the user allows them."""
    forbidden = partial(policy.forbidden, allowed=stage.settings.allow_path, also=_also(stage))
    return Workspace(stage.top, _secrets(stage), forbidden, intents)


def choose(stage: Stage, command: str) -> Confinement:
    """Raises SandboxError if what was asked for cannot be had, UsageError if it makes no sense."""
    left = [f"{one.what}: {one.path}, left by a run that was cut short" for one in _recovered(stage)]
    chosen = _choose(stage, command)
    return chosen._replace(notices=[*left, *chosen.notices])


def _recovered(stage: Stage) -> list[sandbox.Undone]:
    store = _kept(stage) / "guard"
    return sandbox.recover(store) if store.is_dir() else []


def _choose(stage: Stage, command: str) -> Confinement:
    settings = stage.settings
    mode = settings.sandbox or _USUAL[command]
    if command == "fix" and mode == "read-only":
        raise UsageError("fix changes files; for a read-only run, use `glm-agent ask`")
    if command == "ask" and mode != "read-only":
        raise UsageError("ask changes nothing: its commands run in the read-only sandbox, or not at all")
    if mode == _FREE:
        return Confinement(mode, None, True, (), sandbox.unconfined(stage.top), _freedom())
    if stage.root is None and settings.sandbox is None:
        return Confinement(mode, None, False, (), None, [])
    offer = sandbox.probe()
    tier = _tier(offer, settings.sandbox_tier)
    if tier is None:
        if settings.sandbox or settings.sandbox_tier:
            raise SandboxError(f"commands cannot be confined here as asked: {offer.reason}; {_WAYS_ON}")
        notice = f"commands cannot be confined here, so none are offered: {offer.reason}; {_WAYS_ON}"
        return Confinement(mode, None, False, (), None, [notice])
    sandbox.shield()
    notices: list[str] = []
    if tier == "B":
        notices.append(f"commands are confined in place only ({offer.reason}): {'; '.join(offer.gaps)}")
    return Confinement(mode, tier, settings.network, offer.gaps, _Confined(stage, mode, tier), notices)


class _Confined:
    """Runs commands. What that takes is made ready for the first one: most questions need none."""

    def __init__(self, stage: Stage, mode: str, tier: Tier) -> None:
        self._stage = stage
        self._mode = mode
        self._tier: Tier = tier
        self._lock = threading.Lock()
        self._ready: tuple[Runner, str | None] | None = None

    def __call__(self, command: str, timeout: float, cancel: threading.Event) -> Ran:
        with self._lock:
            self._ready = self._ready or self._prepare()
        run, note = self._ready
        ran = run(command, timeout, cancel)
        return ran._replace(note="; ".join(filter(None, (ran.note, note))) or None)

    def _prepare(self) -> tuple[Runner, str | None]:
        found, hidden = _policy(self._stage, self._mode)
        return sandbox.confined(found, self._tier), _hidden(hidden) if hidden else None


def _freedom() -> list[str]:
    return ["commands are not confined: they run as you, with your files, keys and network"]


def _tier(offer: Offer, wanted: str | None) -> Tier | None:
    """The best tier, if it is no less than what was demanded."""
    return None if wanted == "A" and offer.tier != "A" else offer.tier


def _policy(stage: Stage, mode: str) -> tuple[Policy, int]:
    settings = stage.settings
    own, tmp = _folders(stage)
    read = [Path(path).absolute() for path in settings.sandbox_read]
    words = " ".join(settings.verify) if not config.from_repository(settings, "verify") else ""
    found = sandbox.standard(stage.top, settings.environment, own, tmp, text=words, read=read)
    hidden = () if "*" in settings.allow_secrets else tuple(secret_files(found.root, _secrets(stage)))
    ours = [config.state_home().resolve()] if _is_beneath(config.state_home(), stage.top) else []
    git_has = gitdir.locate(stage.top) if stage.root else None
    found = replace(
        found,
        hidden=(*found.hidden, *hidden, *ours),
        readable=(*found.readable, *_elsewhere(git_has, found.root)),
        instead=tuple(masked_settings(git_has, found.store)) if git_has else (),
        protected=policy.protected(settings.allow_path, _also(stage)),
        read_only=mode == "read-only",
        network=settings.network,
    )
    return found, len(hidden)


def _elsewhere(places: gitdir.Places | None, root: Path) -> list[Path]:
    """What git reads that is not in the tree: of a linked work tree, or a submodule."""
    found = (place.resolve() for place in dict.fromkeys(places or ()))
    return [place for place in found if not place.is_relative_to(root)]


def _also(stage: Stage) -> policy.Also:
    """What is special in this tree besides the usual: our own folders in it, and where git's hooks are."""
    top = stage.top.resolve()
    homes = (config.config_home().resolve(), config.state_home().resolve())
    # made by us during a command, it would be taken for the command's
    ours = [home for home in homes if home.is_relative_to(top) and (home == homes[0] or home.exists())]
    return policy.Also(tuple(str(home.relative_to(top)) for home in ours), _hooks(stage, top))


def _hooks(stage: Stage, top: Path) -> tuple[str, ...]:
    """The folder in the tree that `core.hooksPath` names; not the root, which must be writable."""
    if stage.root is None:
        return ()
    said = git.run(stage.top, "config", "--local", "--includes", "-z", "--get", "core.hooksPath", ok=(0, 1))
    folder = Path(os.path.normpath(top / os.fsdecode(said.rstrip(b"\0"))))
    return (str(folder.relative_to(top)),) if top in folder.parents else ()


def _folders(stage: Stage) -> tuple[Path, Path]:
    """What commands keep for this repository, and what only for this run: both outside of it."""
    kept = _kept(stage)
    if stage.settings.ephemeral or _is_beneath(kept, stage.top):
        kept = _temporary(stage)
    return kept, _temporary(stage)


def _kept(stage: Stage) -> Path:
    return config.state_home() / "commands" / state.key(stage.top)


def _temporary(stage: Stage) -> Path:
    import tempfile  # 14 ms

    folder = Path(tempfile.mkdtemp(prefix="glm-agent-")).resolve()
    stage.closers.append(partial(shutil.rmtree, folder, ignore_errors=True))
    if _is_beneath(folder, stage.top):
        raise SandboxError(f"the folder for temporary files is in the repository ({folder}); set TMPDIR")
    return folder


def _is_beneath(path: Path, top: Path) -> bool:
    return path.resolve().is_relative_to(top.resolve())


def _secrets(stage: Stage) -> Secrets:
    tracked: dict[str, bool] = {}

    def is_tracked(path: str) -> bool:
        if path not in tracked:
            tracked[path] = bool(
                stage.root and git.run(stage.top, "ls-files", "-z", "--", f":(literal){path}")
            )
        return tracked[path]

    return Secrets(stage.settings.allow_secrets, is_tracked)


def _hidden(count: int) -> str:
    files = "1 file that holds secrets appears" if count == 1 else f"{count} files that hold secrets appear"
    return f"{files} empty: --allow-secrets"
