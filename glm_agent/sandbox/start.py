"""The launcher's work: read the plan, confine itself, start the command, stay until all of it has ended."""

from __future__ import annotations

import marshal
import os

from . import kernel, landlock, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from ctypes import Array, c_char
    from typing import NoReturn, TypedDict

    from .mounts import Layout

    class Plan(TypedDict):
        """Everything the launcher is told; it comes as `marshal` on standard input, a file in memory."""

        parent: int  # the process that starts the launcher
        layout: Layout | None  # None: confine in place (tier B)
        network: bool
        abi: int  # of Landlock
        rules: list[tuple[bytes, int]]
        filter: bytes
        limits: list[tuple[int, int]]
        folder: bytes
        argv: list[bytes]
        environment: dict[bytes, bytes]


FAILED = 125  # what the launcher ends with if it could not confine itself; why is then in the plan's file

_HANGUP, _KILL, _TERM, _CHILD = 1, 9, 15, 17
_DEATH_SIGNAL, _DUMPABLE, _ADOPT_ORPHANS, _NO_NEW_PRIVILEGES = 1, 4, 36, 38  # of prctl
_CLOSE_RANGE, _ALL = 436, 0xFFFFFFFF
_WATCHED = (_HANGUP, 2, _TERM, _CHILD)  # INT too, which comes to the group
_USERS, _MOUNTS, _NAMES, _IPC, _PROCESSES, _NETWORK = (
    *(0x10000000, 0x00020000, 0x04000000, 0x08000000),
    *(0x20000000, 0x40000000),
)


def main() -> NoReturn:
    with open(0, "rb", closefd=False) as told:
        plan: Plan = marshal.load(told)
    try:
        status = _run(plan)
    except OSError as error:
        why = f"{_steps(error)}: {error.strerror}"
        os.pwrite(0, b"!" + os.fsencode(why) + b"\0", 0)
        status = FAILED
    os._exit(status)


def _run(plan: Plan) -> int:
    layout = plan["layout"]
    kernel.prctl(_DEATH_SIGNAL, _KILL if layout else _HANGUP)  # of the program that asked for all this
    if os.getppid() != plan["parent"]:
        return FAILED  # it is gone already
    kernel.system(_CLOSE_RANGE, 3, _ALL, 0)
    _offer_memory()
    signals = kernel.block(_WATCHED)
    if layout is None:
        kernel.prctl(_ADOPT_ORPHANS, 1)
    else:
        _enter_namespaces(plan["network"])
        if first := os.fork():
            return _status(os.waitpid(first, 0)[1])
        _begin(plan, layout)
    kernel.drop_capabilities()
    kernel.prctl(_DUMPABLE, 0)  # the command cannot look into us
    command = os.fork()
    if not command:
        _become(plan)
    return _supervise(command, signals, plan["parent"] if layout is None else None)


def _steps(error: OSError) -> str:
    """The step that failed, as the name of the functions that led there."""
    names: list[str] = []
    trace = error.__traceback__
    while trace:
        names.append(trace.tb_frame.f_code.co_name.strip("_"))
        trace = trace.tb_next
    told = [name for name in names[2:] if name != "checked"]
    return " > ".join(told) + (f" {os.fsdecode(error.filename)}" if error.filename else "")


def _enter_namespaces(network: bool) -> None:
    user, group = os.getuid(), os.getgid()
    kernel.unshare(_USERS | _MOUNTS | _NAMES | _IPC | _PROCESSES | (0 if network else _NETWORK))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        _write(f"/proc/self/{name}", text)


def _offer_memory() -> None:
    """Where it runs out, whoever else needs it is more important."""
    try:
        _write("/proc/self/oom_score_adj", "1000")
    except OSError:
        return  # a courtesy, which not every container allows


def _write(path: str, text: str) -> None:
    place = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.write(place, text.encode())
    os.close(place)


def _begin(plan: Plan, layout: Layout) -> None:
    """Of the new namespaces' first process, whose end is the end of all the others."""
    kernel.prctl(_DEATH_SIGNAL, _KILL)
    if not plan["network"]:
        kernel.raise_loopback()
    mounts.change_root(layout)
    kernel.system(_CLOSE_RANGE, 3, _ALL, 0)


def _become(plan: Plan) -> NoReturn:
    os.setsid()  # neither `kill 0` nor a terminal reaches whoever started us
    kernel.prctl(_DEATH_SIGNAL, _KILL)
    os.chdir(plan["folder"])
    for resource, value in plan["limits"]:
        kernel.set_limit(resource, value)
    kernel.prctl(_NO_NEW_PRIVILEGES, 1)
    if plan["abi"]:
        landlock.restrict(plan["abi"], plan["rules"], tcp=plan["layout"] is not None or plan["network"])
    kernel.load_filter(plan["filter"])
    os.ftruncate(0, 0)  # nothing went wrong
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    kernel.reset_signals()
    try:
        os.execve(plan["argv"][0], plan["argv"], plan["environment"])
    except OSError as error:
        os.write(2, b"%s: %s\n" % (plan["argv"][0], os.fsencode(error.strerror or "")))
        os._exit(126 if error.errno == 13 else 127)


def _supervise(command: int, signals: Array[c_char], parent: int | None) -> int:
    """The status of `command` once it has ended and nothing below it is left. Passes SIGTERM on.

    Without a namespace that would end with us, `parent` is who asked for it, and the end of that is the end.
    """
    while True:
        signal = kernel.wait_signal(signals)
        if signal == _TERM:
            _signal(-command if parent else -1, _TERM)
        if parent and os.getppid() != parent:
            _end_the_rest()
            return FAILED
        for process, status in _ended():
            if process == command:
                if parent:
                    _end_the_rest()
                return _status(status)


def _ended() -> Iterator[tuple[int, int]]:
    """Every child that has ended and its status: also those that were handed to us."""
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not process:
            return
        yield process, status


def _end_the_rest() -> None:
    """Its orphans are our children by now."""
    while children := _children():
        for child in children:
            _signal(child, _KILL)
        for _ in children:
            os.waitpid(-1, 0)


def _children() -> list[int]:
    listed = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return [int(child) for child in os.read(listed, 1 << 20).split()]
    finally:
        os.close(listed)


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except OSError:
        return  # nobody is left, or it is not to be reached


def _status(waited: int) -> int:
    code = os.waitstatus_to_exitcode(waited)
    return code if code >= 0 else 128 - code
