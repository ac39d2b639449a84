"""Makes the virtual environments of the checkout hold what a lock says, quickly if they do.

`python3 tools/_setup.py LOCK` makes the one of LOCK, with nothing of ours in it, and prints its Python.
Standard library only.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_COMPILED = {"llama": ("--no-binary", "llama-cpp-python")}  # from its source; all else comes as it is

if sys.version_info < (3, 11):  # noqa: UP036 - an older Python is to be told so
    sys.exit(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}")


def ensure(lock: str) -> Path:
    """The Python of `.venv`, with requirements/`lock`.txt and this package installed; exits if that fails."""
    return _ensure(ROOT / ".venv", lock, ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def ensure_apart(lock: str) -> Path:
    """The Python of `.venv-lock`, with requirements/`lock`.txt and nothing of ours; exits if that fails."""
    os.environ.setdefault("CMAKE_ARGS", "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF")  # of llama.cpp; compiled here
    return _ensure(ROOT / f".venv-{lock}", lock, [])


def _ensure(venv: Path, lock: str, package: list[str]) -> Path:
    python, stamp = venv / "bin" / "python", venv / f"installed-{lock}"
    requirements = ROOT / "requirements" / f"{lock}.txt"
    wanted = _fingerprint(requirements, *([ROOT / "pyproject.toml"] if package else []))
    if python.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    if not _has_pip(python):
        print(f"Creating {venv.name} …", file=sys.stderr)
        hint = "on Debian and Ubuntu: apt install python3-venv"
        _run([sys.executable, "-m", "venv", "--clear", str(venv)], f"cannot create {venv} ({hint})")
    print(f"Installing requirements/{lock}.txt …", file=sys.stderr)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wheels = ("--only-binary", ":all:", *_COMPILED.get(lock, ()))  # whose installation runs nothing
    words = [*pip, "--require-hashes", *wheels, "-r", str(requirements)]
    _run(words, "pip could not install the requirements")
    if package:
        _run([*pip, *package], "pip could not install the package")
    stamp.write_text(wanted, "utf-8")
    return python


def _fingerprint(*files: Path) -> str:
    """Of the files and of where they are: a moved checkout is installed anew."""
    parts = [str(ROOT).encode(), *(path.read_bytes() for path in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _has_pip(python: Path) -> bool:
    if not python.exists():
        return False
    run = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False)
    return run.returncode == 0


def _run(argv: list[str], failure: str) -> None:
    """Runs `argv` with everything it says on stderr; exits with `failure` in one line if it fails."""
    status = subprocess.run(argv, stdout=sys.stderr, check=False).returncode
    if status:
        sys.exit(f"{Path(sys.argv[0]).name}: {failure}")


if __name__ == "__main__":
    print(ensure_apart(sys.argv[1]))
