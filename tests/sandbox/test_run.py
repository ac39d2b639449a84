"""A command inside: how it starts, ends, and what of ordinary work it can do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from running import make_repository, wait_for

from glm_agent import process, sandbox
from glm_agent.errors import SandboxError

Box = Callable[..., sandbox.Ran]


def said(ran: sandbox.Ran) -> str:
    return ran.done.output.decode()


def test_the_command_has_its_own_status_output_and_folder(box: Box, policy: sandbox.Policy) -> None:
    ran = box("pwd; echo err >&2; exit 3")
    assert (said(ran), ran.done.exit_code, ran.undone) == (f"{policy.root}\nerr\n", 3, ())


def test_a_signal_gives_the_status_that_a_shell_would_give(box: Box) -> None:
    assert box("kill -9 $$").done.exit_code == 128 + signal.SIGKILL
    assert box("nonesuch").done.exit_code == 127


def test_it_gets_the_environment_of_the_policy_and_nothing_else(
    box: Box, policy: sandbox.Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "sk-1")
    lines = said(box("exec env", environment={"A": "b", "PATH": "/bin:/usr/bin"})).split()
    own = [f"HOME={policy.home_seen}", "TMPDIR=/tmp", f"PWD={policy.root}"]
    assert sorted(lines) == sorted(["A=b", "PATH=/bin:/usr/bin", *own])


def test_signals_are_as_a_program_expects_them_and_standard_input_is_empty(box: Box) -> None:
    ran = box("yes | head -1; cat; grep -E 'SigIgn|SigBlk' /proc/self/status")
    assert said(ran).split() == ["y", "SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_at_its_deadline_it_is_asked_to_end_and_then_all_of_it_is_killed(box: Box) -> None:
    command = "trap 'echo asked; exit' TERM; setsid sleep 77.5 & echo on; wait"
    tries = (box(command, timeout=0.5) for _ in range(4))  # a machine with much to do may not give it time
    assert any((said(ran), ran.done.timed_out) == ("on\nasked\n", True) for ran in tries)
    wait_for(lambda: not running("77.5"))


def test_what_it_leaves_running_ends_with_it(box: Box) -> None:
    assert box("setsid env -i sleep 78.5 & (setsid sleep 78.5 &) & echo done").done.seconds < 10
    assert not running("78.5")


@pytest.mark.parametrize("tier", ["A", "B"])
def test_it_does_not_outlive_the_program_that_asked_for_it(
    tier: sandbox.Tier, box: Box, policy: sandbox.Policy, tmp_path: Path
) -> None:
    box("true", tier=tier)  # or skip
    number = f"79.{os.getpid()}{ord(tier)}"
    script = (
        "import os, sys, threading\nfrom pathlib import Path\nfrom glm_agent import sandbox\n"
        f"p = sandbox.standard(Path({str(policy.root)!r}), os.environ, *map(Path, sys.argv[1:]))\n"
        f"sandbox.run('sleep {number}', p, {tier!r}, timeout=99, cancel=threading.Event())\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "s"), str(tmp_path / "t")]
    with subprocess.Popen(argv) as agent:
        wait_for(lambda: running(number))
        agent.kill()
    wait_for(lambda: not running(number))


def running(word: str) -> bool:
    """Whether any process of this machine has `word` as its argument."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def test_in_place_what_it_leaves_running_ends_with_it_too(box: Box) -> None:
    assert box("setsid env -i sleep 80.5 & (setsid sleep 80.5 &) & echo done", tier="B").done.exit_code == 0
    assert not running("80.5")


def test_the_launcher_knows_nothing_that_a_command_could_read(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLM_AGENT_API_KEY", "sk-of-launcher")
    ran = box("cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n' | grep -c sk-of-[l]auncher")
    assert said(ran).split("\n")[-2] == "0"


def test_a_sandbox_that_cannot_be_set_up_runs_nothing_and_says_why(box: Box, policy: sandbox.Policy) -> None:
    with pytest.raises(SandboxError, match=r"could not be set up .*tree /nonesuch|No such file"):
        box("echo ran > ran", writable=(Path("/nonesuch"),))
    assert not (policy.root / "ran").exists()


def test_what_did_not_exist_and_would_run_later_is_removed_and_told_of(
    box: Box, policy: sandbox.Policy
) -> None:
    (policy.root / ".vscode").mkdir()
    made = "mkdir -p .husky evil/workflows; echo x > .husky/pre-push; echo x > evil/workflows/a.yml"
    ran = box(f"{made}; ln -s evil .github; mv .vscode .old || echo x > .vscode/tasks.json; echo x > kept")
    removed = {one.path: one.what for one in ran.undone}
    assert removed == {".husky": "removed", ".github": "removed", ".vscode/tasks.json": "removed"}
    assert sorted(path.name for path in policy.root.iterdir()) == [".git", ".vscode", "evil", "kept"]


def test_the_old_root_is_gone_not_covered(box: Box) -> None:
    """What is covered could be reached by whoever finds a way to `..`."""
    assert said(box("awk '$5 == \"/\"' /proc/self/mountinfo")).count("\n") == 1


def test_a_tree_that_may_only_be_read_is_not_written_to(box: Box, policy: sandbox.Policy) -> None:
    ran = box("cat .git/HEAD; echo x > /tmp/ok; echo x > made", read_only=True)
    assert said(ran).startswith("ref: refs/heads/main\n")
    assert (ran.note, (policy.root / "made").exists()) == ("read-only: the repository", False)


def test_home_and_tmp_are_private_and_kept(box: Box, policy: sandbox.Policy, home: Path) -> None:
    box("echo 1 > ~/.cache-of-build; echo 2 > $TMPDIR/scratch")
    assert said(box("cat ~/.cache-of-build /tmp/scratch /var/tmp/scratch")) == "1\n2\n2\n"
    assert list(home.iterdir()) == []
    assert (policy.home / ".cache-of-build").read_text() == "1\n"


def test_tools_below_tmp_and_home_work_from_where_they_are(
    box: Box, policy: sandbox.Policy, home: Path
) -> None:
    tool = home / "versions/9/bin/tool"
    tool.parent.mkdir(parents=True)
    tool.write_text(
        '#!/bin/sh\ncat "$(dirname "$(readlink -f "$0")")/../lib"; cat ~/versions/9/credentials.toml\n'
    )
    tool.chmod(0o755)
    (home / "versions/9/lib").write_text("lib\n")
    (home / "versions/9/credentials.toml").write_text("token\n")
    (home / ".netrc").write_text("secret\n")
    (home / "bin").mkdir()
    (home / "bin/tool").symlink_to(tool)
    start = {"PATH": f"{home}/bin:{os.environ['PATH']}", "HOME": str(home)}
    found = sandbox.standard(policy.root, start, policy.home.parent, policy.tmp)
    names = {"environment": found.environment, "readable": found.readable, "hidden": found.hidden}
    assert said(box("tool; ls -A ~", **names)) == "lib\nbin\nversions\n"


def test_a_link_left_in_the_home_that_is_kept_misleads_nobody(
    box: Box, policy: sandbox.Policy, home: Path
) -> None:
    (home / "code").mkdir()
    policy.root.rename(home / "code/work")
    root = (home / "code/work").resolve()
    assert box("cd && mv code old && ln -s / code", root=root).done.exit_code == 0
    assert box("echo x > made; echo x > .git/made", root=root).note == "read-only: .git"
    assert sorted(path.name for path in root.iterdir()) == [".git", "made"]


def test_with_the_network_on_this_machine_can_be_reached_and_off_it_cannot(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = f"{sys.executable} -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 1)'"
        assert box(command, network=True).done.exit_code == 0
        assert box(command).done.exit_code == 1


def test_a_limit_on_processes_holds_for_root_too(box: Box) -> None:
    few = sandbox.Limits(processes=310)
    ran = box("for i in $(seq 400); do sleep 60 & done", limits=few)
    assert "fork" in said(ran).lower()
    assert ran.note == "at most 310 processes and threads"


WORK = """
import multiprocessing, os, pty, socket, sqlite3, tempfile, threading, urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import shared_memory

def square(x): return x * x

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool: assert pool.map(square, [3]) == [9]
    memory = shared_memory.SharedMemory(create=True, size=8); memory.close(); memory.unlink()
    for name in (tempfile.mkdtemp() + "/s", "\\0mine"):
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(name); server.listen(); client.connect(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *a: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert urllib.request.urlopen(f"http://localhost:{server.server_port}/").status == 200
    child, terminal = pty.fork()
    if not child: os.execvp("tty", ["tty"])
    assert os.read(terminal, 99).startswith(b"/dev/pts/")
    os.mkfifo("fifo"); os.umask(0o77); sqlite3.connect("d").execute("create table t (c)")
    with open("/dev/null", "w") as null: null.write("x")
    assert open("/dev/zero", "rb").read(1) == b"\\0" and len(os.urandom(3)) == 3 and os.cpu_count()
    print("worked")
"""


def test_ordinary_programs_work(box: Box, policy: sandbox.Policy) -> None:
    (policy.root / "work.py").write_text(WORK)
    ran = box(
        f"{sys.executable} work.py && ls -d /proc/self/fd /dev/fd && git init -q /tmp/r && df . >/dev/null"
    )
    assert said(ran) == "worked\n/dev/fd\n/proc/self/fd\n"


WHEEL = """
import zipfile
with zipfile.ZipFile("mine-1-py3-none-any.whl", "w") as z:
    z.writestr("mine.py", "x = 1")
    z.writestr("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1\\n")
    z.writestr("mine-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr("mine-1.dist-info/RECORD", "")
"""
PIP = "v/bin/pip install -q --no-index --find-links . mine && v/bin/python -c 'import mine'"
GO = "go mod init example.com/a && printf 'package a\\n' > a.go && go build ./... && go vet ./..."
CARGO = "cargo new -q --vcs none mine && cd mine && cargo test -q --offline"
NPM = """printf '{"scripts":{"test":"node -e 1"}}' > package.json && npm test"""
JAVA = """printf 'class A{public static void main(String[] a){}}' > A.java && javac A.java && java A"""
MAKE = "printf 'm: m.c\\n\\tgcc -fsanitize=address m.c -o m\\n' > Makefile && make && ./m"
GIT = "git status --short && git diff --stat && git log --oneline && git show --stat && git blame wheel.py"
NODE = """printf "require('node:test')('a', () => {})" > a.test.js && node --test"""
POM = "<modelVersion>4.0.0</modelVersion><groupId>g</groupId><artifactId>a</artifactId><version>1</version>"
MAVEN = f"printf '<project>{POM}</project>' > pom.xml && mvn -o -q validate"
GCC = f"printf 'int main(){{return 0;}}' > m.c && {MAKE}"


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["A", "B"])
@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("python3", f"{sys.executable} -m venv v && {sys.executable} wheel.py && {PIP}"),
        ("python3", f"{sys.executable} -m pytest -q -n 2 -p no:cacheprovider test_x.py"),
        *[("go", GO), ("cargo", CARGO), ("npm", NPM), ("javac", JAVA), ("make", GCC)],
        *[("git", GIT), ("node", NODE), ("mvn", MAVEN)],
    ],
    ids=["pip", "pytest", "go", "cargo", "npm", "java", "gcc", "git", "node", "maven"],
)
def test_tool_chains_work(
    tool: str, command: str, tier: sandbox.Tier, box: Box, policy: sandbox.Policy
) -> None:
    import shutil

    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here")
    if (tool, tier) == ("make", "B"):
        pytest.skip("sanitizers do not work in place")
    if tool == "git":
        shutil.rmtree(policy.root / ".git")
    (policy.root / "wheel.py").write_text(WHEEL)
    (policy.root / "test_x.py").write_text("def test_a(): pass\ndef test_b(tmp_path): pass\n")
    if tool == "git":
        make_repository(policy.root, {"more": "x\n"})
    start = {**os.environ, "HOME": os.path.expanduser(f"~{os.environ.get('USER', 'root')}")}  # noqa: PTH111
    found = sandbox.standard(policy.root, start, policy.home.parent, policy.tmp)
    names = {"environment": found.environment, "readable": found.readable, "home_seen": found.home_seen}
    ran = box(command, timeout=150, tier=tier, **names)
    assert ran.done.exit_code == 0, said(ran)


def test_a_shielded_process_cannot_be_looked_into() -> None:
    script = (
        "import os; from glm_agent import sandbox; sandbox.shield(); print(os.getpid(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as agent:
        assert agent.stdout is not None
        number = agent.stdout.readline().strip()
        assert Path(f"/proc/{number}/environ").stat().st_uid == 0
        agent.communicate("\n")


def test_what_is_started_holds_no_descriptor_but_its_output(policy: sandbox.Policy, box: Box) -> None:
    box("true")
    with sandbox.confine("ls /proc/self/fd; readlink /proc/self/fd/0", policy, "A") as confined:
        reading, writing = os.pipe()
        os.set_inheritable(reading, True)
        start = confined.start
        done = subprocess.run(
            start.argv, env=start.env, stdin=start.stdin, stdout=subprocess.PIPE, close_fds=False, check=False
        )
        os.close(reading)
        os.close(writing)
    assert done.stdout.split() == [b"0", b"1", b"2", b"3", b"/dev/null"]  # 3 is what ls reads


def test_a_command_of_a_parent_that_is_gone_is_not_run(policy: sandbox.Policy, box: Box) -> None:
    box("true")
    with sandbox.confine("touch ran", policy, "A") as confined:
        argv = [
            sys.executable,
            "-c",
            "import subprocess, sys; subprocess.run(sys.argv[1:])",
            *confined.start.argv,
        ]
        subprocess.run(argv, stdin=confined.start.stdin, check=False)
    assert not (policy.root / "ran").exists()


def test_cancelling_ends_it(policy: sandbox.Policy, box: Box) -> None:
    box("true")
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    began = time.monotonic()
    with sandbox.confine("sleep 81.5", replace(policy), "A") as confined:
        done = process.run(confined.start, policy.root, timeout=60, cancel=cancel)
    assert (done.cancelled, time.monotonic() - began < 10) == (True, True)
    wait_for(lambda: not running("81.5"))
