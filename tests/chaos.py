#!/usr/bin/env python3
"""Kills a scripted session at any moment, and sees that nothing is lost: `python3 tests/chaos.py --help`.

After each kill one of three things is done: the session is gone on with, which has to come to the same diff
and tree as a run that nobody disturbed; or it is undone as it is; or the first of these is killed as well.
In the end `undo` has to give back the very tree that there was at first.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from killing import KILLED, NOT_REACHED, End, Killer
from running import CHECK, DONE, FILES, RIGHT, ROOT, WRONG, Look, Ran, git, look, make_repository, to, turn

from glm_agent import journal
from glm_agent.history import open_calls
from glm_agent.replay import Server
from glm_agent.replay.script import Reply
from glm_agent.replay.server import Request
from glm_agent.types import Assistant, Json, ToolStarted

PATCH = f"""--- a/calc.py
+++ b/calc.py
@@ -1,2 +1,2 @@
 def add(a, b):
-{WRONG}+{RIGHT}--- /dev/null
+++ b/docs/deep/note.md
@@ -0,0 +1 @@
+It adds.
--- a/old.txt
+++ /dev/null
@@ -1 +0,0 @@
-old
--- a/run.sh
+++ b/run.sh
@@ -1 +1 @@
-echo one
+echo two
--- a/mine.txt
+++ b/mine.txt
@@ -1 +1 @@
-unstaged
+changed
"""


SCRIPT = [
    turn(1, ("read", {"path": "calc.py"}), ("read", {"path": "check.py"})),
    turn(2, ("patch", {"patch": PATCH}), ("read", {"path": "calc.py"})),
    turn(3, ("write", {"path": "new/er.py", "content": "x = 1\n"})),
    turn(4, ("edit", {"path": "new/er.py", "old": "x", "new": "y"}), ("read", {"path": "run.sh"})),
    DONE,
]
COMMAND = turn(5, ("bash", {"command": "echo made >made.txt"}))
FIX = ("fix", "Make it add.", "--verify", CHECK, "--sandbox", "danger-full-access", "--json")
AGAIN = ("fix", "-c", "--json")
FREE = ("fix", "Do it.", "--sandbox", "danger-full-access", "--json")
BACK = ("intend", "fresh", "spare", "take", "place", "folder", "made", "bits", "settle", "away")
EVERYTHING = """
set -e
rm old.txt; mkdir old.txt; echo in >old.txt/in; echo more >>calc.py; rm untracked.txt
rm -r hollow; echo file >hollow; ln -sf elsewhere link; chmod 644 run.sh
mkdir -p new/deep; echo n >new/deep/file; chmod 700 new; mv shortuuid was; echo file >shortuuid
"""
UNSEEN = "chmod 644 mine.txt; mkdir new/hollow"  # by git's trees, by which a breach is judged
WRITES = (
    *("journal", "journaled", "replace", "written", "replaced", "intend", "stage", "sync", "swap", "swapped"),
    *("clean", "conclude", "artefact", "record", "spill"),
)
LOUD = turn(9, ("bash", {"command": "seq 1 20000"}))
NEVER = 1 << 30  # no failpoint has this number


class Kill(NamedTuple):
    """When a run ends: at a failpoint of those named in `only`, or `after` so many seconds."""

    at: int = NEVER
    only: tuple[str, ...] = ()
    after: float = 0.0


class Wrong(AssertionError):
    """What was promised is not so."""


class _Watcher(Server):
    """Sees the tree between the turns."""

    def __init__(self, script: list[Json], tree: Path, seen: list[Look]) -> None:
        super().__init__(script)
        self._tree, self._seen = tree, seen

    def answer(self, request: Request) -> Reply:
        self._seen.append(look(self._tree)[0])
        return super().answer(request)


class Chaos:
    """One repository, what an undisturbed run makes of it, and runs that are killed. All is in `scratch`."""

    def __init__(
        self, scratch: Path, home: Path, *, with_command: bool = False, more: tuple[str, ...] = ()
    ) -> None:
        self._home = home
        self._words = (*FIX, *more)
        self._sessions = home / ".local/state/glm-agent/sessions"
        self._script = [*SCRIPT[:-1], COMMAND, DONE] if with_command else SCRIPT
        self._tree = scratch / "tree"
        self._pristine = _repository(scratch / "pristine")
        self._reset()
        self.killer = Killer(self._tree, scratch)
        self._start = look(self._tree)
        self._wholes: list[Look] = []
        self.seconds = 0.0
        self._undisturbed()

    def _undisturbed(self) -> None:
        """The states between its turns, and its diff."""
        began = time.monotonic()
        with _Watcher(self._script, self._tree, self._wholes) as server:
            whole = self.killer.run(*self._words, *to(server.url))
        self.seconds = time.monotonic() - began
        _require(whole.code == 0, "undisturbed", whole)
        self._final = look(self._tree)
        self._wholes.append(self._final[0])
        self._diff = _diff(whole)
        undone = self.killer.run("undo")
        _require((undone.code, look(self._tree)) == (0, self._start), "undisturbed undo", undone)

    def count(self, only: tuple[str, ...] = ()) -> int:
        """How many failpoints an undisturbed run has."""
        self._reset()
        return self._fix(Kill(only=only)).came

    def trial(self, kill: Kill, then: str, second: Kill | None = None) -> str:
        """What became of one kill; `then` is "resume", "doctor" or "undo"; `second` kills that."""
        self._reset()
        killed = self._fix(kill)
        _require(killed.code in (KILLED, NOT_REACHED, 0), "how it ended", killed)
        _require(self._git_is_untouched(), "git's own files", killed)
        if killed.code != KILLED:
            return "not reached"
        if then == "resume":
            done = self._went_on(second)
        elif then == "doctor":
            done = self._put_right()
        else:
            done = "undone twice" if second else "undone at once"
        self._undo(second if then == "undo" else None)
        return done

    def fail(self, kill: Kill, how: str) -> tuple[int, str]:
        """Exit code and errors of a run that met the error `how` where it would else be killed."""
        self._reset()
        with Server([LOUD, *self._script]) as server:
            ended = self.killer.run(*self._words, *to(server.url), how=how, **kill._asdict())
        result = Ran(ended.code, ended.out, ended.err).result  # one, the last
        said = f"{how} at {kill}"
        text = ended.out + ended.err
        _require("Traceback" not in text and "internal error" not in text, said, ended)
        _require(self._git_is_untouched(), f"git's own files, {said}", ended)
        now = look(self._tree)[0]
        wholes = [_without_write(whole) for whole in (*self._wholes, self._start[0])]
        _require(_without_write(now) in wholes, said, ended, self._differs(self._start))
        left = [*self._home.glob(".local/state/glm-agent/writes/*/*"), *self._tree.rglob(".glm-agent-*")]
        _require(not left, "left behind", said, left)
        undone = self.killer.run("undo")
        _require(look(self._tree) == self._start, "undo", said, ended.err, undone, self._differs(self._start))
        wanted = (0,) if now != self._start[0] else (0, 2)
        _require(undone.code in wanted, "undo", said, ended.err, undone)
        return ended.code, "; ".join(result["errors"])

    def count_writes(self) -> int:
        """How many writes a run has that may fail."""
        self._reset()
        with Server([LOUD, *self._script]) as server:
            return self.killer.run(*self._words, *to(server.url), only=WRITES).came

    def _fix(self, kill: Kill) -> End:
        with Server(self._script) as server:
            return self.killer.run(*self._words, *to(server.url), **kill._asdict())

    def _put_right(self) -> str:
        """By what each run that writes does at first."""
        ended = self.killer.run("doctor")
        now = look(self._tree)[0]
        is_whole = now in self._wholes
        is_whole |= {**now, "made.txt": self._final[0].get("made.txt")} == self._final[0]  # bash may be at it
        _require(is_whole, "the tree after doctor", ended, self._differs(self._start))
        return "put right"

    def _went_on(self, second: Kill | None) -> str:
        session = self._load()
        if session is None or "task" not in session.kept:
            _require(look(self._tree) == self._start, "before the task was on the disk")
            return "nothing done"
        if session.result is not None:
            _require(look(self._tree) == self._final, "after the result was on the disk")
            return "finished"
        if second:
            self._resume(second)
        ended = self._resume(Kill())
        if ended is None:
            _require(look(self._tree) == self._final, "after the result was on the disk")
            return "resumed, finished"
        _require(ended.code in (0, NOT_REACHED), "resume", ended)
        _require(look(self._tree) == self._final, "the tree after resume", ended, self._differs(self._final))
        _require(_diff(ended) == self._diff, "the diff after resume", ended)
        return "resumed twice" if second else "resumed"

    def _resume(self, kill: Kill) -> End | None:
        """None if there is nothing to go on with: it is finished."""
        session = self._load()
        assert session is not None
        if session.result is not None:
            return None
        begun = {event.call.id for event in session.events if isinstance(event, ToolStarted)}
        turns = sum(isinstance(message, Assistant) for message in session.messages)
        number = sum(
            any(call.name != "bash" for call in message.calls)
            for message in session.messages
            if isinstance(message, Assistant)
        )
        script = self._script[min(turns, len(self._script) - 1) :]
        commands = turns - number
        unknown = any(call.name == "bash" and call.id in begun for call in open_calls(session.messages))
        if unknown or commands > 1:  # whose outcome the model cannot know: it runs it again
            script = [turn(10 + turns, ("bash", {"command": "echo made >made.txt"})), DONE]
        with Server(script) as server:
            return self.killer.run(*AGAIN, *to(server.url), **kill._asdict())

    def _undo(self, kill: Kill | None) -> None:
        if kill:
            self.killer.run("undo", "--force", **kill._asdict())
            now = look(self._tree)[0]
            if now == self._start[0]:
                return
        session = self._name()
        undone = self.killer.run("undo", *([session] if session else []))
        if undone.code == 45:
            undone = self.killer.run("undo", "--force", *([session] if session else []))
        _require(undone.code in (0, 2), "undo", undone)
        doctor = self.killer.run("doctor")  # which would finish what was left open
        now = look(self._tree)
        _require(now == self._start, "the tree after undo", undone, doctor, self._differs(self._start))

    def _name(self) -> str | None:
        """The session of `fix`, the first one there was."""
        found = sorted(self._sessions.iterdir()) if self._sessions.is_dir() else []
        return found[0].name if found else None

    def _load(self) -> journal.Session | None:
        name = self._name()
        return journal.load(self._sessions / name) if name else None

    def _differs(self, other: tuple[Look, str, bytes, str]) -> object:
        now = look(self._tree)
        paths = {path for path in now[0] | other[0] if now[0].get(path) != other[0].get(path)}
        return {path: (other[0].get(path), now[0].get(path)) for path in paths}, [
            here == there for here, there in zip(now[1:], other[1:], strict=True)
        ]

    def _git_is_untouched(self) -> bool:
        return look(self._tree)[2:] == self._start[2:]

    def _reset(self) -> None:
        shutil.rmtree(self._tree, ignore_errors=True)
        shutil.copytree(self._pristine, self._tree, symlinks=True)
        shutil.rmtree(self._home / ".local", ignore_errors=True)


class Breach:
    """A run whose diff is out of bounds, which puts the tree back, with a kill while it does."""

    def __init__(self, scratch: Path) -> None:
        self._tree = _repository(scratch / "tree")
        self.killer = Killer(self._tree, scratch)
        self._start = look(self._tree)

    def count(self) -> int:
        """How many failpoints putting back has."""
        whole = self._fix(Kill(only=BACK))
        _require((whole.code, look(self._tree)) == (NOT_REACHED, self._start), "not put back", whole)
        return whole.came

    def trial(self, kill: Kill, then: str = "doctor") -> str:
        """What became of the kill, once it is put right by a run of `then`."""
        killed = self._fix(kill._replace(only=BACK))
        _require(killed.code == KILLED, "not killed", killed)
        between = look(self._tree)
        mended = self.killer.run(then)
        now = look(self._tree)
        if now == self._start:
            return "put back" if between == now else "half-way, and put back"
        undone = self.killer.run("undo", "--force")
        _require(undone.code == 0 and look(self._tree) == self._start, "undo", undone, mended)
        return "not begun, and undone"

    def _fix(self, kill: Kill) -> End:
        with Server([turn(1, ("bash", {"command": EVERYTHING})), DONE]) as server:
            return self.killer.run(*FREE, "--protect", "calc.py", *to(server.url), **kill._asdict())


class Pendulum:
    """A tree that `undo` swings between two states, with a kill on the way."""

    def __init__(self, scratch: Path) -> None:
        self._tree = _repository(scratch / "tree")
        self.killer = Killer(self._tree, scratch)
        start = look(self._tree)
        with Server([turn(1, ("bash", {"command": EVERYTHING + UNSEEN})), DONE]) as server:
            ran = self.killer.run(*FREE, *to(server.url))
        _require(ran.code == 0, "the run", ran)
        self._ends = look(self._tree), start
        _require(self._ends[0][0] != start[0], "the run changed nothing", ran)

    def count(self) -> int:
        """How many failpoints one swing has."""
        came = self.killer.run("undo", at=NEVER).came
        self._ends = self._ends[::-1]
        return came

    def swing(self, kill: Kill, then: str = "doctor") -> str:
        """One way with a kill, and back; what became of the kill, once it is put right by a run of `then`."""
        here, there = self._ends
        killed = self.killer.run("undo", **kill._asdict())
        if killed.code != KILLED:
            is_well = killed.code in (0, NOT_REACHED) and look(self._tree) == there
            _require(is_well, "an undo that was not killed", killed)
            self._ends = there, here
            return "not reached"
        between = look(self._tree)[0] not in (here[0], there[0])
        mended = self.killer.run(then)
        now = look(self._tree)
        is_there = now == there
        _require(
            is_there or (now == here and not between), "after the kill", mended, sorted(now[0]), mended.err
        )
        came = "half-way, and finished" if between else "finished" if is_there else "not begun"
        for number in range(1 if is_there else 2):
            undone = self.killer.run("undo")
            wanted = there if number < 1 and not is_there else here
            _require((undone.code, look(self._tree)) == (0, wanted), "undo", undone, mended)
        return came


def _repository(folder: Path) -> Path:
    """A real one, with changes of the user's in all states."""
    folder.mkdir()
    with tarfile.open(ROOT / "tests/real/shortuuid-order/repo.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    make_repository(folder, {**FILES, "old.txt": "old\n", "run.sh": "echo one\n", "staged.txt": "s\n"})
    (folder / "run.sh").chmod(0o755)
    (folder / "mine.txt").write_text("committed\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "second")
    (folder / "mine.txt").write_text("unstaged\n")
    (folder / "mine.txt").chmod(0o600)
    (folder / "staged.txt").write_text("staged\n")
    git(folder, "add", "staged.txt")
    (folder / "untracked.txt").write_text("untracked\n")
    (folder / "link").symlink_to("calc.py")
    (folder / "hollow").mkdir()
    return folder


def _without_write(tree: Look) -> Look:
    """But for what the model makes with a call of its own, whatever became of the patch before it."""
    return {path: entry for path, entry in tree.items() if path not in ("new", "new/er.py")}


def _diff(ended: End) -> bytes:
    result = json.loads(ended.out.rstrip().rpartition("\n")[2])
    return Path(result["patch_file"]).read_bytes()


def _require(condition: bool, *what: object) -> None:
    if not condition:
        raise Wrong("\n".join(map(str, what)))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", action="store_true", help="once at every failpoint, not at random times")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        scratch, home = Path(place) / "scratch", Path(place) / "home"
        scratch.mkdir()
        home.mkdir()
        os.environ["HOME"] = str(home)
        for with_command in (False, True):
            (scratch / str(with_command)).mkdir()
            chaos = Chaos(scratch / str(with_command), home, with_command=with_command)
            with chaos.killer:
                _attack(chaos, asked, counts, with_command)
        for name, kind in (("pendulum", Pendulum), ("breach", Breach)):
            (scratch / name).mkdir()
            _go_back(kind(scratch / name), asked, counts)
    _say(f"done: {dict(counts)}")
    return 1 if counts["WRONG"] else 0


def _go_back(kept: Pendulum | Breach, asked: argparse.Namespace, counts: Counter[str]) -> None:
    """A kill at each failpoint of the way back; of random ones, as many as there are."""
    with kept.killer:
        number = kept.count() if isinstance(kept, Breach) else kept.count() and kept.count()
        chance = random.Random(asked.seed)
        _say(f"{number} kills of {type(kept).__name__}")
        for place in range(1, number + 1):
            kill, then = Kill(at=place), chance.choice(("doctor", "undo"))
            try:
                counts[kept.trial(kill, then) if isinstance(kept, Breach) else kept.swing(kill, then)] += 1
            except Exception as error:  # noqa: BLE001 - counted, told, and there is no going on from there
                counts["WRONG"] += 1
                _say(f"WRONG {kill} {then}: {type(error).__name__}: {error}\n")
                return


def _attack(chaos: Chaos, asked: argparse.Namespace, counts: Counter[str], with_command: bool) -> None:
    chance = random.Random(f"{asked.seed}-{with_command}")  # to be had again
    number = chaos.count() if asked.every else asked.kills // 2
    _say(f"{number} kills, with_command={with_command}, a run takes {chaos.seconds:.2f} s")
    done, limit = 0, chaos.seconds
    while done < number:
        kill = Kill(at=done + 1) if asked.every else Kill(after=chance.uniform(0.01, limit))
        then = chance.choice(("resume", "resume", "doctor", "undo"))
        second = chance.choice((None, None, Kill(after=chance.uniform(0.01, limit / 2))))
        try:
            came = chaos.trial(kill, then, second)
        except Exception as error:  # noqa: BLE001 - counted, told, and on
            came = "WRONG"
            _say(f"WRONG {kill} {then} {second}: {type(error).__name__}: {error}\n")
        was_killed = came != "not reached"
        limit *= 1.05 if was_killed else 0.8  # how fast a run is depends on what else there is to do
        done += was_killed or asked.every
        counts[came] += 1
        if sum(counts.values()) % 10 == 0:
            _say(f"{time.strftime('%H:%M:%S')} {done}: {dict(counts)}")


if __name__ == "__main__":
    sys.exit(main())
