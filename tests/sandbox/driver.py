"""A world for attempts: `python driver.py PACKAGE WORK HOW` prints what came of them, and what they left.

HOW is `root` or `user`, without a sandbox, to prove that they work; or a tier. This program is their agent.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

PACKAGE, WORK, HOW = sys.argv[1:4]
sys.path.insert(0, PACKAGE)

from glm_agent import sandbox  # noqa: E402 - from where it was told

KEY = "sk-4f1d-of-nobody"
LIMITS = sandbox.Limits(processes=330, memory=1 << 30, file_size=64 << 20)
HERE = Path(__file__).parent


def main() -> None:
    base = Path(WORK).resolve()
    with contextlib.ExitStack() as ending:
        facts = {**files(base), **common(ending), **listeners(base, ending), **others(ending)}
        (base / "work/repo/facts.json").write_text(json.dumps(facts))
        before = seen(base)
        answer = run_plainly() if HOW in ("root", "user") else run_confined(base)
        if HOW not in ("root", "user"):
            after = seen(base)
            answer["changed"] = sorted(path for path in before | after if before.get(path) != after.get(path))
    print(json.dumps(answer))


def run_plainly() -> dict[str, Any]:
    os.chdir(f"{WORK}/work/repo")
    argv = [sys.executable, "attempts.py", "facts.json", HOW]
    done = subprocess.run(argv, capture_output=True, text=True, close_fds=False, check=False)
    return {"found": json.loads(done.stdout.split("\n")[-2]), "said": done.stderr}


def run_confined(base: Path) -> dict[str, Any]:
    root = base / "work/repo"
    policy = sandbox.standard(root, os.environ, base / "state", base / "private")
    secrets = (root / ".env", root / "sub/.env", root / "deep/.env", root / "keys") if HOW == "A" else ()
    policy = replace(policy, limits=LIMITS, hidden=(*policy.hidden, *secrets) if HOW == "A" else ())
    command = f"{sys.executable} attempts.py facts.json ''"
    ran = sandbox.run(command, policy, "A" if HOW == "A" else "B", timeout=60, cancel=threading.Event())
    lines = ran.done.output.decode("utf-8", "replace").split("\n")
    try:
        return {"found": json.loads(lines[-2]), "undone": ran.undone, "exit_code": ran.done.exit_code}
    except ValueError:
        sys.exit("\n".join([*lines[-30:], str(ran.done.exit_code)]))


def files(base: Path) -> dict[str, Any]:
    import attempts

    root, outside, home = base / "work/repo", base / "outside", base / "home"
    git = ["git", "-c", "init.templateDir=", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(root)]
    for folder in (root, outside, home, base / "work/repo-evil", home / ".ssh", home / "tools/bin"):
        folder.mkdir(parents=True, exist_ok=True)
    texts = {
        **{outside / name: "#!/bin/sh\n" for name in (*attempts.WRITES, "route")},
        **{home / "tools" / name: "t\n" for name in (*attempts.READABLE, "credentials.toml")},
        **{root / name: "S=1\n" for name in (".env", "sub/.env", "deep/.env", "keys/a", "f")},
        **{
            root / name: "x\n"
            for name in (".github/workflows/ci.yml", ".glm-agent.toml", ".git/hooks/x.sample")
        },
        **{home / name: "s\n" for name in (".ssh/id_test", ".local/state/glm-agent/journal.jsonl")},
        base / "work/repo-evil/f": "e\n",
    }
    for path in (".git/refs/empty", ".git/info", ".git/objects/info"):
        (root / path).mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    for words in (["init", "-q"], ["add", "f"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], check=True)
    for name in ("attempts.py", "attempts_more.py"):
        shutil.copy(HERE / name, root / name)
    return {
        "root": str(root),
        "outside": str(outside),
        "home": str(home),
        "launcher": str(Path(PACKAGE, "glm_agent/sandbox/launcher.py")),
        "handle": handle(outside / "route"),
        "set_id": f"{WORK}/work/set-id",
        "others": f"{WORK}/others",
        **{"key": KEY, "processes": LIMITS.processes, "memory": LIMITS.memory, "file_size": LIMITS.file_size},
    }


def common(ending: contextlib.ExitStack) -> dict[str, str]:
    """A file in each folder that all programs share."""
    found: dict[str, str] = {}
    for name, folder in {"in_tmp": "/tmp", "in_var_tmp": "/var/tmp", "in_shm": "/dev/shm"}.items():
        path = Path(folder, f"glm-agent-{os.getpid()}")
        path.write_text("of all\n")
        ending.callback(path.unlink)
        found[name] = str(path)
    return found


def handle(path: Path) -> str:
    """What the kernel calls the file, whatever its path; "" where it does not say."""
    room = ctypes.create_string_buffer((128).to_bytes(4, sys.byteorder), 8 + 128)
    number = 303 if os.uname().machine == "x86_64" else 264
    if ctypes.CDLL(None).syscall(number, -100, os.fsencode(path), room, ctypes.byref(ctypes.c_int()), 0):
        return ""
    size = int.from_bytes(room.raw[:4], sys.byteorder)
    return room.raw[: 8 + size].hex()


def listeners(base: Path, ending: contextlib.ExitStack) -> dict[str, Any]:
    def bound(family: int, kind: int, address: Any) -> socket.socket:
        sock = ending.enter_context(socket.socket(family, kind))
        sock.bind(address)
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
        return sock

    tcp, udp = socket.SOCK_STREAM, socket.SOCK_DGRAM
    one = bound(socket.AF_INET, tcp, ("127.0.0.1", 0))
    port = one.getsockname()[1]
    bound(socket.AF_INET, tcp, ("127.1.2.3", port))
    echo = bound(socket.AF_INET, udp, ("127.0.0.1", 0))
    abstract = f"\0glm-agent-{os.getpid()}"
    bound(socket.AF_UNIX, tcp, abstract)
    giver = bound(socket.AF_UNIX, tcp, str(base / "outside/giver"))
    bound(socket.AF_UNIX, udp, str(base / "outside/datagram"))
    try:
        port6 = bound(socket.AF_INET6, tcp, ("::1", 0)).getsockname()[1]
    except OSError:
        port6 = port
    threading.Thread(target=give, args=(giver, base / "outside/route"), daemon=True).start()
    threading.Thread(target=echoes, args=(echo,), daemon=True).start()
    return {"tcp": port, "tcp6": port6, "udp": echo.getsockname()[1], "abstract": abstract}


def give(giver: socket.socket, path: Path) -> None:
    while True:
        peer, _ = giver.accept()
        with peer, path.open("rb") as file, contextlib.suppress(OSError):
            peer.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))])


def echoes(sock: socket.socket) -> None:
    while True:
        said, peer = sock.recvfrom(9)
        sock.sendto(said, peer)


def others(ending: contextlib.ExitStack) -> dict[str, Any]:
    """A victim, a descriptor that is left open to be inherited, memory that is shared."""
    left_open = os.open(f"{WORK}/outside/route", os.O_RDWR)
    os.set_inheritable(left_open, True)
    secret = ctypes.create_string_buffer(b"12345678")
    victim = os.fork()
    if not victim:
        os.setsid()
        while True:
            time.sleep(9)
    ending.callback(lambda: (os.kill(victim, signal.SIGKILL), os.waitpid(victim, 0)))
    named = subprocess.Popen([KEY, "60"], executable="/bin/sleep")
    ending.callback(named.wait)
    ending.callback(named.kill)
    libc = ctypes.CDLL(None)
    shared = os.getpid()
    segment = libc.shmget(shared, 64, 0o1600)
    ending.callback(lambda: libc.shmctl(segment, 0, None))
    return {
        "agent": os.getpid(),
        "agent_fd": left_open,
        "victim": victim,
        "address": ctypes.addressof(secret),
        "shm_key": shared,
    }


def seen(base: Path) -> dict[str, str]:
    """Everything but what is the command's to change."""
    found: dict[str, str] = {}
    for top in ("outside", "home", "work/repo-evil", "work/repo/.git", "work/repo/.github"):
        for path in sorted([base / top, *(base / top).rglob("*")]):
            status = path.lstat()
            text = path.read_text("latin-1") if path.is_file() and not path.is_symlink() else ""
            what = (text, oct(status.st_mode), status.st_uid, os.listxattr(path, follow_symlinks=False))
            put_back = HOW == "B" and top.startswith("work/repo/")
            when = 0 if put_back else (status.st_mtime_ns, status.st_nlink)
            found[str(path.relative_to(base))] = str((*what, when))
    return found


if __name__ == "__main__":
    main()
