"""How the commands of a run are kept in: as the user asked and the kernel allows, and never silently less."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .. import config, git, gitdir, sandbox, tools
from ..errors import RepositoryError, SandboxError, UsageError
from ..hiding import Survey, masked_settings
from ..intents import Intents
from ..sandbox import Fence, Offer, Policy, Ran, Reach, Runner, Tier
from ..types import Json
from ..workspace import Workspace
from . import stores
from .conduct import Stage
from .reserve import Reserve

_USUAL = {"ask": "read-only", "fix": "workspace-write"}
_FREE = "danger-full-access"
_WAYS_ON = (
    "enable user namespaces (glm-agent doctor says what is missing), use a container that has them, or in a "
    "machine to throw away: --sandbox danger-full-access"
)
_FREEDOM = "commands are not confined: they run as you, with your files, keys and network"
_TOO_MANY = "{} has too many files to look for secrets in; let commands read all of them: --allow-secrets '*'"
_NO_COPY = (
    "only the sandbox with user namespaces (tier A; glm-agent doctor) can show them a private copy at its "
    "original's place; without --worktree, --dry-run and --attempts they run in the work tree itself"
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
    why: str = f"runs in a sandbox, which cannot be had here; {_WAYS_ON}"  # if there is no `run`

    def record(self) -> Json:
        """What `init` says of it."""
        mechanism = _MECHANISMS[self.tier] if self.tier else "none"
        network = self.network or self.mode == _FREE
        known: Json = {"mode": self.mode, "mechanism": mechanism, "network": network}
        return {**known, "tier": self.tier, "gaps": list(self.gaps)}

    def runner(self) -> Runner:
        """What runs the user's own commands. Raises SandboxError where there is none."""
        if self.run is None:
            raise SandboxError(f"--verify {self.why}")
        return self.run


def open_workspace(stage: Stage, intents: Intents | None = None) -> Workspace:
    """The files of the run, but for secrets, and for what runs by itself, unless the user allows them."""
    reserve = _reserve(stage)
    return Workspace(stage.tree, reserve.secrets, reserve.forbidden, known_as=stage.top, intents=intents)


def fence_files(stage: Stage, folder: Path, command: str) -> Fence:
    """For threads of tools that work on files: the tree, what the session in `folder` keeps, git's own."""
    writes = _USUAL[command] != "read-only"
    if writes:
        _ = _reserve(stage).also  # the user's own settings of git cannot be read behind the fence
    stage.fence = fence = Fence(partial(_reach, stage, folder, writes))
    stage.closers.append(fence.close)
    return fence


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
    if stage.replica and (mode == _FREE or sandbox.probe().tier != "A"):
        notice, why = f"commands are not offered: {_NO_COPY}", f"is not run: {_NO_COPY}"
        return Confinement(mode, None, False, (), None, [notice], why)
    if mode == _FREE:
        return Confinement(mode, None, True, (), sandbox.unconfined(stage.top), [_FREEDOM])
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
        self._policy: Policy | None = None
        self._seen: Survey | None = None

    def __call__(self, command: str, timeout: float, cancel: threading.Event) -> Ran:
        with self._lock:
            found, note = self._prepare()
        ran = sandbox.run(command, found, self._tier, timeout=timeout, cancel=cancel)
        return ran._replace(note="; ".join(filter(None, (ran.note, note))) or None)

    def _prepare(self) -> tuple[Policy, str | None]:
        """Anew where a command has moved what it could not change: it is not to find it unguarded then."""
        stage, reserve = self._stage, _reserve(self._stage)
        reads_all = "*" in stage.settings.allow_secrets
        if self._seen is None or self._policy is None or not self._seen.is_true_of(self._policy.root):
            seen = reserve.survey(anew=self._seen is not None)
            if not (seen.whole or reads_all):
                raise SandboxError(_TOO_MANY.format(stage.top))
            found = self._policy or _policy(stage, self._mode)
            hidden = () if self._seen else seen.secrets  # what has gone since is gone
            self._seen = seen
            self._policy = replace(
                found, hidden=(*found.hidden, *hidden), deeper=tuple(path for path, _ in seen.kept)
            )
        count = len(self._seen.secrets)
        return self._policy, _hidden(count) if count else None


def _tier(offer: Offer, wanted: str | None) -> Tier | None:
    """The best tier, if it is no less than what was demanded."""
    return None if wanted == "A" and offer.tier != "A" else offer.tier


def _policy(stage: Stage, mode: str) -> Policy:
    settings = stage.settings
    own, tmp = _folders(stage)
    read = [Path(path).absolute() for path in settings.sandbox_read]
    words = " ".join(settings.verify) if not config.from_repository(settings, "verify") else ""
    found = sandbox.standard(stage.top, settings.environment, own, tmp, text=words, read=read)
    ours = [config.state_home().resolve()] if _is_beneath(config.state_home(), stage.top) else []
    git_has = gitdir.locate(stage.top) if stage.root else None
    return replace(
        found,
        hidden=(*found.hidden, *ours),
        readable=(*found.readable, *_elsewhere(git_has, found.root)),
        instead=tuple(masked_settings(git_has, found.store)) if git_has else (),
        protected=_reserve(stage).protected(),
        private=stage.replica.private() if stage.replica else None,
        read_only=mode == "read-only",
        network=settings.network,
    )


def _reserve(stage: Stage) -> Reserve:
    stage.reserve = stage.reserve or Reserve(stage.settings, stage.top, stage.root is not None)
    return stage.reserve


def _reach(stage: Stage, folder: Path, writes: bool) -> Reach:
    outputs = tools.outputs(folder)
    own = stores.written(stage.top, folder) if writes else []
    for place in (outputs, *own):  # there can be no rule for what is not there
        stage.closers += stores.make(place, keep=not stage.settings.ephemeral)
    top = stage.tree.resolve()
    home = Path(stage.settings.environment.get("HOME", "/"))
    git_reads: list[Path] = []
    with suppress(RepositoryError):  # without git, there are other ways to search
        git_reads += sandbox.installation(Path(git.binary(top)), top, home)
        git_reads += git.elsewhere(top)
    return Reach((top, *own) if writes else (), (top, outputs, *git_reads), home)


def _elsewhere(places: gitdir.Places | None, root: Path) -> list[Path]:
    """What git reads that is not in the tree: of a linked work tree, or a submodule."""
    found = (place.resolve() for place in dict.fromkeys(places or ()))
    return [place for place in found if not place.is_relative_to(root)]


def _folders(stage: Stage) -> tuple[Path, Path]:
    """What commands keep for this repository, and what only for this run: both outside of it."""
    state = _kept(stage)
    if stage.settings.ephemeral or _is_beneath(state, stage.top):
        state = temporary(stage)
    return state, temporary(stage)


def _kept(stage: Stage) -> Path:
    return config.state_home() / "commands" / stores.key(stage.top)


def temporary(stage: Stage) -> Path:
    """A new folder outside of the repository, for this run only. Raises SandboxError if there is none."""
    import tempfile  # 14 ms

    folder = Path(tempfile.mkdtemp(prefix="glm-agent-")).resolve()
    stage.closers.append(partial(shutil.rmtree, folder, ignore_errors=True))
    if _is_beneath(folder, stage.top):
        raise SandboxError(f"the folder for temporary files is in the repository ({folder}); set TMPDIR")
    return folder


def _is_beneath(path: Path, top: Path) -> bool:
    return path.resolve().is_relative_to(top.resolve())


def _hidden(count: int) -> str:
    files = "1 file that holds secrets appears" if count == 1 else f"{count} files that hold secrets appear"
    return f"{files} empty: --allow-secrets"
