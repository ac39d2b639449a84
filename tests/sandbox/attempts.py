"""Ways out of the sandbox, each of them tried: `python attempts.py FACTS.json` prints what came of every one.

Needs only the standard library, for it runs inside. An attempt that returns has got out; one that raises
was stopped. `proven` says as whom it is first shown to work without a sandbox: any, root, user, or nobody.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
FACTS: dict[str, Any] = {}
X86 = platform.machine() == "x86_64"


class Attempt(NamedTuple):
    name: str
    run: Callable[[], object]
    proven: str  # any, root, user; "" not without a sandbox
    why: str  # ... and why not


ATTEMPTS: list[Attempt] = []
Function = Callable[[], object]


def attempt(proven: str = "any", why: str = "") -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        ATTEMPTS.append(Attempt(function.__name__, function, proven, why))
        return function

    return add


def add(name: str, function: Function, proven: str = "any", why: str = "") -> None:
    ATTEMPTS.append(Attempt(name, function, proven, why))


def call(number: int, *words: Any) -> int:
    """A system call by its number. Raises OSError."""
    wide = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    result = libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def number(x86: int, arm: int) -> int:
    return x86 if X86 else arm


def reached(error: int, function: Function) -> Function:
    """Harmless arguments: the kernel looked at them, and refused them with `error` for what they are."""

    def run() -> None:
        try:
            function()
        except OSError as got:
            if got.errno != error:
                raise

    return run


def in_child(function: Function) -> Function:
    """What may kill or change the process that tries it."""

    def run() -> None:
        child = os.fork()
        if not child:
            code = 1
            try:
                function()
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        if status:
            raise PermissionError(f"status {status}")

    return run


def outside(name: str) -> str:
    return f"{FACTS['outside']}/{name}"


def check(condition: object) -> None:
    if not condition:
        raise PermissionError("without effect")


# Files outside. Each attempt has a file of its own there.

WRITES: dict[str, Callable[[str], object]] = {
    "append": lambda path: Path(path).open("a").close(),
    "truncate": lambda path: os.truncate(path, 1),
    "unlink": os.unlink,
    "rename_away": lambda path: os.rename(path, f"{path}-gone"),
    "rename_over": lambda path: os.rename(made("f"), path),
    "replace_by_link": lambda path: os.symlink("/", f"{path}-link"),
    "mkdir": lambda path: os.mkdir(f"{path}-folder"),
    "fifo": lambda path: os.mkfifo(f"{path}-fifo"),
    "create": lambda path: Path(f"{path}-new").write_text("x"),
    "tmpfile": lambda path: os.close(os.open(os.path.dirname(path), os.O_TMPFILE | os.O_WRONLY)),
    "bind_socket": lambda path: socket.socket(socket.AF_UNIX).bind(f"{path}-s"),
    "link_in": lambda path: os.link(path, f"{FACTS['root']}/linked-in"),
    "link_out": lambda path: os.link(made("g"), f"{path}-hard"),
    "map": lambda path: mmap.mmap(os.open(path, os.O_RDWR), 1),
    "reopen": lambda path: os.open(f"/proc/self/fd/{os.open(path, os.O_PATH)}", os.O_WRONLY),
    "chmod": lambda path: os.chmod(path, 0o600),
    "utime": lambda path: os.utime(path, (1, 1)),
    "setxattr": lambda path: os.setxattr(path, "user.a", b"b"),
    "chown": lambda path: os.chown(path, os.getuid(), os.getgid()),
    "read": lambda path: Path(path).read_text(),
    "stat": os.stat,
    "list": lambda path: os.listdir(os.path.dirname(path)),
    "exec": lambda path: in_child(lambda: os.execv(path, [path]))(),
    "watch": lambda path: libc_checked(libc.inotify_add_watch(libc.inotify_init(), path.encode(), 2)),
    "lock": lambda path: fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB),
    "chdir": lambda path: in_child(lambda: os.chdir(os.path.dirname(path)))(),
}
for what, write in WRITES.items():
    add(f"outside_{what}", lambda what=what, write=write: write(outside(what)))

ROUTES: dict[str, Callable[[], str]] = {
    "by_dots": lambda: FACTS["root"] + "/" + "../" * 40 + outside("route")[1:],
    "by_proc_self_root": lambda: "/proc/self/root" + outside("route"),
    "by_proc_self_cwd": lambda: "/proc/self/cwd/" + "../" * 40 + outside("route")[1:],
    "by_link_to_file": lambda: linked(outside("route"), "to-file"),
    "by_link_to_folder": lambda: linked(FACTS["outside"], "to-folder") + "/route",
    "by_link_to_root": lambda: linked("/", "to-root") + outside("route"),
    "by_link_to_proc": lambda: linked("/proc/self/root", "to-proc") + outside("route"),
    "by_link_chain": lambda: linked(linked(outside("route"), "chain-1"), "chain-2"),
    "by_root_of_agent": lambda: f"/proc/{FACTS['agent']}/root{outside('route')}",
    "by_cwd_of_agent": lambda: f"/proc/{FACTS['agent']}/cwd/" + "../" * 40 + outside("route")[1:],
    "by_fd_of_agent": lambda: f"/proc/{FACTS['agent']}/fd/{FACTS['agent_fd']}",
    "by_map_files": lambda: f"/proc/{FACTS['victim']}/cwd/" + "../" * 40 + outside("route")[1:],
    "in_tmp_of_all": lambda: FACTS["in_tmp"],
    "in_var_tmp_of_all": lambda: FACTS["in_var_tmp"],
    "in_shm_of_all": lambda: FACTS["in_shm"],
    "in_home": lambda: FACTS["home"] + "/.ssh/id_test",
    "in_home_state": lambda: FACTS["home"] + "/.local/state/glm-agent/journal.jsonl",
    "in_cache_credentials": lambda: FACTS["home"] + "/tools/credentials.toml",
    "next_to_root": lambda: FACTS["root"] + "-evil/f",
    "other_users": lambda: FACTS["others"],
}
for what, route in ROUTES.items():
    add(f"read_{what}", lambda route=route: check(len(Path(route()).read_bytes()) > 0))
    if what not in ("by_fd_of_agent", "other_users", "in_cache_credentials"):
        add(f"write_{what}", lambda route=route: os.close(os.open(route(), os.O_WRONLY)))
add("read_by_root_of_init", lambda: Path("/proc/1/root" + outside("route")).read_text(), "", "its own")


READABLE: dict[str, Callable[[str], object]] = {
    what: WRITES[what]
    for what in (
        "append",
        "truncate",
        "unlink",
        "chmod",
        "utime",
        "setxattr",
        "chown",
        "map",
        "reopen",
    )
}
for what, write in READABLE.items():
    add(f"readable_{what}", lambda what=what, write=write: write(f"{FACTS['home']}/tools/{what}"))


def made(name: str) -> str:
    path = f"{FACTS['root']}/made-{name}"
    Path(path).write_text("made")
    return path


def linked(target: str, name: str) -> str:
    path = f"{FACTS['root']}/link-{name}"
    if not os.path.islink(path):
        os.symlink(target, path)
    return path


def libc_checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def temporary(folder: str) -> Function:
    """A file without a name: as good a proof that `folder` can be written as any, and gone at once."""
    return lambda: os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))


for folder in ("/", "/etc", "/usr", "/usr/bin", "/usr/lib", "/opt", "/var/lib"):
    add(f"system_{folder.replace('/', '_')}", temporary(folder), "root")
for file in ("/etc/shadow", "/etc/sudoers.d", "/root/.bashrc"):
    add(f"secret_{file.replace('/', '_')}", lambda file=file: os.stat(file), "", "not everywhere")
add("launcher_write", lambda: open(FACTS["launcher"], "a").close(), "root")
add("passwd_write", lambda: open("/etc/passwd", "a").close(), "root")
add("python_write", lambda: open(os.path.realpath(sys.executable), "a").close(), "", "text file busy")


# The repository's own: `.git`, what runs later, secrets


def git(name: str) -> str:
    return f"{FACTS['root']}/.git/{name}"


OWN: dict[str, Function] = {
    "config_write": lambda: open(git("config"), "a").close(),
    "config_map": lambda: mmap.mmap(os.open(git("config"), os.O_RDWR), 1),
    "config_by_cwd": lambda: open("/proc/self/cwd/.git/config", "a").close(),
    "config_by_root": lambda: open("/proc/self/root" + git("config"), "a").close(),
    "config_reopen": lambda: os.open(f"/proc/self/fd/{os.open(git('config'), os.O_RDONLY)}", os.O_WRONLY),
    "config_by_link": lambda: open(linked(git("config"), "to-config"), "a").close(),
    "config_truncate": lambda: os.truncate(git("config"), 0),
    "config_utime": lambda: os.utime(git("config"), (1, 1)),
    "config_chmod": lambda: os.chmod(git("config"), 0o666),
    "config_setxattr": lambda: os.setxattr(git("config"), "user.a", b"b"),
    "config_hard_link": lambda: os.link(git("config"), f"{FACTS['root']}/hard"),
    "config_replace": lambda: os.rename(made("c"), git("config")),
    "config_worktree": lambda: Path(git("config.worktree")).write_text("x"),
    "hook": lambda: Path(git("hooks/pre-commit")).write_text("x"),
    "hook_link": lambda: os.symlink("/bin/true", git("hooks/post-checkout")),
    "hooks_rename": lambda: os.rename(git("hooks"), git("hooks-old")),
    "info_attributes": lambda: Path(git("info/attributes")).write_text("* filter=x"),
    "alternates": lambda: Path(git("objects/info/alternates")).write_text("/"),
    "commondir": lambda: Path(git("commondir")).write_text(".."),
    "index_write": lambda: open(git("index"), "a").close(),
    "head_unlink": lambda: os.unlink(git("HEAD")),
    "git_folder_chmod": lambda: os.chmod(git("."), 0o700),
    "git_mkdir": lambda: os.mkdir(git("modules-x")),
    "git_fifo": lambda: os.mkfifo(git("fifo")),
    "git_rename": lambda: os.rename(git(".")[:-2], f"{FACTS['root']}/dotgit"),
    "git_exchange": lambda: exchange(),
    "git_rmdir": lambda: os.rmdir(git("refs/empty")),
    "root_rename": lambda: os.rename(FACTS["root"], FACTS["root"] + "-moved"),
    "workflow_write": lambda: open(f"{FACTS['root']}/.github/workflows/ci.yml", "a").close(),
    "workflow_new": lambda: Path(f"{FACTS['root']}/.github/workflows/new.yml").write_text("x"),
    "workflows_rename": lambda: os.rename(
        f"{FACTS['root']}/.github/workflows", f"{FACTS['root']}/.github/old"
    ),
    "github_rename": lambda: os.rename(f"{FACTS['root']}/.github", f"{FACTS['root']}/.old"),
    "own_settings": lambda: open(f"{FACTS['root']}/.glm-agent.toml", "a").close(),
    "secret_read": lambda: check(Path(FACTS["root"], ".env").read_bytes()),
    "secret_by_root": lambda: check(Path(f"/proc/self/root{FACTS['root']}/.env").read_bytes()),
    "secret_rename": lambda: os.rename(f"{FACTS['root']}/.env", f"{FACTS['root']}/env"),
    "secret_link": lambda: os.link(f"{FACTS['root']}/sub/.env", f"{FACTS['root']}/env2"),
    "secret_unlink": lambda: os.unlink(f"{FACTS['root']}/sub/.env"),
    "secret_moved_with_folder": lambda: moved_secret(),
    "secret_folder": lambda: check(os.listdir(f"{FACTS['root']}/keys")),
}
LAST = ("git_exchange", "git_rename", "secret_moved_with_folder", "root_rename")  # they leave little to try
for what, function in OWN.items():
    if what not in LAST:
        add(what, function)


def exchange() -> None:
    """Swap `.git` with a folder, in one step."""
    other = f"{FACTS['root']}/other"
    os.makedirs(other, exist_ok=True)
    call(number(316, 276), -100, git(".")[:-2].encode(), -100, other.encode(), 2)


def moved_secret() -> None:
    os.rename(f"{FACTS['root']}/deep", f"{FACTS['root']}/deep-2")
    check(Path(FACTS["root"], "deep-2/.env").read_bytes())


# Mounts and namespaces

NEW = {
    "user": 0x10000000,
    "mount": 0x20000,
    "net": 0x40000000,
    "pid": 0x20000000,
    "ipc": 0x8000000,
    "uts": 0x4000000,
    "cgroup": 0x2000000,
}
for what, flag in NEW.items():
    who = "any" if what == "user" else "root"
    add(f"unshare_{what}", in_child(lambda flag=flag: libc_checked(libc.unshare(flag))), who)


def clone(flags: int) -> None:
    child = call(number(56, 220), flags | 17, None, None, None, None)
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


add("unshare_time", in_child(lambda: libc_checked(libc.unshare(0x80))), "root")
add("unshare_with_files", in_child(lambda: libc_checked(libc.unshare(0x10000000 | 0x400))))
add("clone_user", lambda: clone(0x10000000))
add("clone_user_and_mount", lambda: clone(0x10020000))
add("clone3_user", lambda: clone3())
add("setns", in_child(lambda: enter("uts")), "root")
add("setns_mount", in_child(lambda: enter("mnt")), "root")
add("setns_of_init", in_child(lambda: enter("net", 1)), "", "the machine's own")
add("chroot", in_child(lambda: os.chroot("/proc/self/root")), "root")
add("mount_tmpfs", in_child(lambda: own_mounts(b"tmpfs")), "root")
add("mount_proc", in_child(lambda: own_mounts(b"proc")), "root")
add("mount_bind", in_child(lambda: own_mounts(b"", 0x1000)), "root")
add("remount_git", lambda: mount(None, git("."), 0x20 | 0x1000), "", "nothing is mounted there")
add("umount_git", lambda: libc_checked(libc.umount2(git(".").encode(), 2)), "", "nothing is mounted there")
add("umount_secret", lambda: libc_checked(libc.umount2(f"{FACTS['root']}/.env".encode(), 2)), "", "the same")
add("umount_proc_sys", lambda: libc_checked(libc.umount2(b"/proc/sys", 2)), "", "the same")
add("umount", reached(errno.EINVAL, lambda: libc_checked(libc.umount2(FACTS["root"].encode(), 2))), "root")
add("pivot_root", reached(errno.EBUSY, lambda: libc_checked(libc.pivot_root(b"sub", b"sub"))), "root")
add("open_tree", lambda: call(428, -100, b"/", 1), "root")
add("open_tree_recursive", lambda: call(428, -100, b"/", 0x8001), "root")
add("fsopen", lambda: call(430, b"tmpfs", 0), "root")
add("fspick", lambda: call(433, -100, b"/", 0), "root")
add("mount_setattr", reached(errno.EINVAL, lambda: call(442, -100, b"/", 0, bytes(32), 1)), "root")
add("move_mount", reached(errno.EINVAL, lambda: call(429, -100, b"sub", -100, b"deep", 0)), "root")
add(
    "uid_map",
    lambda: os.close(os.open("/proc/self/uid_map", os.O_WRONLY)) or check(False),
    "",
    "needs a new one",
)


def clone3() -> None:
    arguments = struct.pack("=8Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0)
    child = call(435, arguments, len(arguments))
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def enter(kind: str, process: int | None = None) -> None:
    file = os.open(f"/proc/{process or FACTS['agent']}/ns/{kind}", os.O_RDONLY)
    libc_checked(libc.setns(file, 0))


def own_mounts(kind: bytes, flags: int = 0) -> None:
    """In mounts of its own where it may have them, so that nothing is left."""
    libc.unshare(0x20000)
    libc_checked(libc.mount(b"none", b"/", b"", 0x44000, None))
    mount(kind, f"{FACTS['root']}/sub", flags)


def mount(kind: bytes | None, target: str, flags: int) -> None:
    libc_checked(libc.mount(b"/usr", target.encode(), kind, ctypes.c_ulong(flags), None))


def main() -> None:
    FACTS.update(json.loads(Path(sys.argv[1]).read_text()))
    with_others = [*ATTEMPTS]
    with_others += [Attempt(what, OWN[what], "any", "") for what in LAST]
    as_whom = sys.argv[2]  # "" inside, else who is to prove what
    FACTS["open"] = os.listdir("/proc/self/fd")  # before any attempt leaves one open
    found: dict[str, str] = {}
    for one in with_others:
        if as_whom and one.proven not in ("any", as_whom):
            continue
        try:
            one.run()
            found[one.name] = "out"
        except Exception as error:  # noqa: BLE001 - whatever stopped it
            found[one.name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))


if __name__ == "__main__":
    sys.modules["attempts"] = sys.modules["__main__"]
    __import__("attempts_more")  # adds its own
    main()
