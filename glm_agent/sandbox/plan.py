"""From a policy to what starts a command inside it."""

from __future__ import annotations

import marshal
import os
import sys
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from ..errors import SandboxError
from ..process import Start
from . import kernel, landlock, seccomp
from .gaps import around
from .policy import Limits, Policy

if TYPE_CHECKING:
    from .mounts import Layout
    from .start import Plan

Tier = Literal["A", "B"]

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store")
# Of /etc only what tells nothing about who works here.
_ETC = (
    *("passwd", "group", "hosts", "nsswitch.conf", "host.conf", "gai.conf", "services"),
    *("protocols", "localtime", "timezone", "*-release", "debian_version", "mime.types"),
    *("magic*", "inputrc", "terminfo", "ld.so.*", "ld-musl-*", "alternatives", "java-*", "jvm"),
    *("maven", "python3*", "perl", "fonts", "locale.alias", "ssl/certs", "ssl/openssl.cnf"),
    *("ssl/cert.pem", "pki/ca-trust", "pki/java", "pki/tls/certs", "pki/tls/cert.pem"),
    *("pki/tls/openssl.cnf", "ca-certificates*", "crypto-policies", "bash.bashrc", "profile"),
    *("xml", "sgml"),
)
_MACHINE = ("/sys/devices/system/cpu", "/sys/devices/system/node")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_HOMES_OF_TOOLS = {".rustup": "RUSTUP_HOME", ".pyenv": "PYENV_ROOT"}
_MOST_STEPS = 400
_FEWEST = 301  # processes: less the kernel does not take for a namespace
_ALL = landlock.READ | landlock.WRITE


class Confined:
    """A command that is ready to be started, by `process.run(box.start, …)`. Closes itself as a context."""

    def __init__(self, plan: Plan) -> None:
        self._plan = os.memfd_create("plan", os.MFD_CLOEXEC)
        os.write(self._plan, marshal.dumps(dict(plan)))
        os.lseek(self._plan, 0, os.SEEK_SET)
        launcher = Path(__file__).with_name("launcher.py")
        self.start = Start([sys.executable, "-I", "-S", str(launcher)], {}, self._plan)

    def trouble(self) -> str | None:
        """Why the command was not run at all, once it was started and has ended."""
        said = os.pread(self._plan, 4096, 0)  # the launcher empties it as its last step
        if said.startswith(b"!"):
            return os.fsdecode(said[1:].partition(b"\0")[0])
        return "its launcher failed" if said else None

    def __enter__(self) -> Confined:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        os.close(self._plan)


def confine(command: str, policy: Policy, tier: Tier) -> Confined:
    """`/bin/sh -c command` in the policy's root, in the sandbox `tier`.

    Raises SandboxError for a policy that this tier cannot keep.
    """
    root = os.fsencode(policy.root)
    plan: Plan = {
        "parent": os.getpid(),
        "layout": _layout(policy) if tier == "A" else None,
        "network": policy.network,
        "abi": kernel.landlock_abi(),
        "rules": _rules_in_new_root(policy) if tier == "A" else _rules_in_place(policy),
        "filter": _filter(_families(policy, tier), tier == "A"),
        "limits": _limits(policy.limits, tier),
        "folder": root,
        "argv": [b"/bin/sh", b"-c", os.fsencode(command)],
        "environment": _environment(policy, tier),
    }
    return Confined(plan)


def _environment(policy: Policy, tier: Tier) -> dict[bytes, bytes]:
    tmp, home = (Path("/tmp"), policy.home_seen) if tier == "A" else (policy.tmp, policy.home)
    found = {**policy.environment, "HOME": str(home), "TMPDIR": str(tmp)}
    if tier == "B":  # the home is another one, and what looks for its tools there is told where they are
        for place in policy.readable:
            if place.name in _HOMES_OF_TOOLS:
                found.setdefault(_HOMES_OF_TOOLS[place.name], str(place))
    return {os.fsencode(name): os.fsencode(value) for name, value in found.items()}


def _families(policy: Policy, tier: Tier) -> tuple[int, ...]:
    """In place, nothing but the filter keeps a command from other people's sockets."""
    unix, internet = (1,), (2, 10)
    if tier == "A":
        return unix + internet
    return internet if policy.network else ()


@cache
def _filter(families: tuple[int, ...], alone: bool) -> bytes:
    try:
        return seccomp.program(os.uname().machine, families, alone=alone)
    except ValueError as error:
        raise SandboxError(f"commands cannot be confined here: {error}") from error


def _limits(limits: Limits, tier: Tier) -> list[tuple[int, int]]:
    """Numbers as the kernel knows them. A core file of one byte is none, and starts no program outside."""
    running = 0 if tier == "A" else int(Path("/proc/loadavg").read_text("ascii").split("/")[1].split()[0])
    rows = {0: limits.cpu, 1: limits.file_size, 4: 1, 6: limits.processes + running, 7: limits.open_files}
    if limits.memory is not None:
        rows[2] = limits.memory
    return list(rows.items())


# Tier A: a new root


def _layout(policy: Policy) -> Layout:
    kept, links = _resolved(_readable(policy))
    places = [(path, path, False) for path in kept if not path.is_relative_to(policy.root)]
    places += [(path, path, True) for path in policy.writable]
    places += [(policy.tmp, Path("/tmp"), True), (policy.tmp, Path("/var/tmp"), True)]
    places += [(policy.home, policy.home_seen, True), (policy.tree, policy.root, not policy.read_only)]
    if policy.private:
        places.append((policy.root / ".git", policy.root / ".git", False))
    places += [(copy, place, False) for place, copy in policy.instead]
    last = {to: (source, to, writable) for source, to, writable in places}
    return {
        "base": os.fsencode(policy.tmp),
        "binds": [
            (os.fsencode(source), os.fsencode(to), writable)
            for source, to, writable in sorted(last.values(), key=lambda place: len(place[1].parts))
        ],
        "layers": [
            (os.fsencode(policy.root / layer.place), os.fsencode(layer.real), os.fsencode(layer.changes))
            for layer in (policy.private.layers if policy.private else ())
        ],
        "links": [(os.fsencode(link), os.fsencode(text)) for link, text in links.items()],
        "work": os.fsencode(policy.root),
        "protected": [os.fsencode(name) for name in policy.protected],
        "deeper": [os.fsencode(name) for name in policy.deeper],
        "hidden": [os.fsencode(path) for path in policy.hidden],
        "processes": max(policy.limits.processes, _FEWEST) if numbers_are_private() else 0,
    }


def numbers_are_private() -> bool:
    """Whether a namespace has a highest process number of its own; before Linux 6.14 it is everybody's."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor)) >= (6, 14)


def _rules_in_new_root(policy: Policy) -> list[tuple[bytes, int]]:
    """What is mounted is the rule; this is a second one, for when the first has a hole."""
    written = [Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), policy.home_seen, *policy.writable]
    if not policy.read_only:
        written.append(policy.root)
    rules = [(b"/", landlock.READ), (b"/dev", landlock.DEVICE), (b"/proc", landlock.WRITE_FILE)]
    return rules + [(os.fsencode(path), _ALL) for path in written]


def _readable(policy: Policy) -> list[Path]:
    """Without the homes, which may lie below a folder of the system's."""
    online = [Path("/etc/resolv.conf")] if policy.network else []
    listed = [*system(), *online, *policy.readable]
    if not policy.homes:
        return listed
    parts = (part for path in listed for part in around(path, policy.homes, links=True))
    return [part.place for part in parts if part.is_whole]


def system() -> list[Path]:
    """What of the machine any program may read: itself, and nothing of who works here."""
    return [*map(Path, (*_SYSTEM, *_MACHINE)), *_etc()]


@cache
def _etc() -> list[Path]:
    etc = Path("/etc")
    return [path for pattern in _ETC for path in (etc.glob(pattern) if "*" in pattern else [etc / pattern])]


def _resolved(paths: list[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Where `paths` really are, without those below others; and the links on the way to them."""
    links: dict[Path, str] = {}
    real = {place for path in paths if (place := _walk(path, links))}
    kept = [path for path in real if not any(above in real for above in path.parents)]
    covered = {link for link in links if any(above in real for above in link.parents)}
    return kept, {link: text for link, text in links.items() if link not in covered}


def _walk(path: Path, links: dict[Path, str]) -> Path | None:
    """`path` without links, each of which is noted; None if there is nothing."""
    place, left = Path("/"), list(path.parts)
    for _ in range(_MOST_STEPS):  # a loop of links ends here
        if not left:
            return place if os.access(place, os.F_OK) else None
        name = left.pop(0)
        step = place.parent if name == ".." else place / name  # an absolute name begins anew
        try:
            if not step.is_symlink():
                place = step
                continue
            links[step] = os.readlink(step)  # noqa: PTH115 - as it is written, not as Path has it
        except OSError:
            return None
        left = [*Path(links[step]).parts, *left]
    return None


# Tier B: in place


def _rules_in_place(policy: Policy) -> list[tuple[bytes, int]]:
    """Landlock cannot subtract, so the whole tree is writable, and the guard sees to `.git` afterwards.

    Around what is hidden each entry has a rule of its own: what is new there can be neither read nor written.
    """
    if policy.private:
        raise SandboxError("a private copy cannot be shown at its original's place without user namespaces")
    read: list[Path] = []
    written = [policy.tmp, policy.home, *policy.writable]
    (read if policy.read_only else written).append(policy.root)
    open_to = [(path, landlock.READ) for path in (*read, *_readable(policy), Path("/proc"))]
    open_to += [(path, _ALL) for path in written]
    hidden = {*policy.hidden, *policy.homes}
    rules = [
        (part.place, rights if part.is_whole else landlock.READ_DIR)
        for path, rights in open_to
        for part in around(path, hidden)
    ]
    rules += [(Path(path), landlock.READ | landlock.DEVICE) for path in _DEVICES]
    return [(os.fsencode(path), rights) for path, rights in rules]
