"""The check of the locks, as CI runs it; a script stands in for pip-audit, which needs the network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT, Ran, environment, first_fast

HASH = f"--hash=sha256:{'0' * 64}"
PINNED = (
    f"# a comment\ntool[extra]==1.2.3 ; python_version < '4' \\\n    {HASH} \\\n    {HASH}\n    # via us\n"
)


def audit(folder: Path, lock: str, pip_audit: str | None = None) -> Ran:
    (folder / "lock.txt").write_text(lock)
    (folder / "bin").mkdir(exist_ok=True)
    if pip_audit is not None:
        (folder / "bin/pip-audit").write_text(f"#!/bin/sh\n{pip_audit}\n")
        (folder / "bin/pip-audit").chmod(0o755)
    words = [sys.executable, str(ROOT / "tools/audit"), str(folder / "lock.txt")]
    env = environment(PATH=str(folder / "bin"))
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


def test_our_own_locks_hold_nothing_loose() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/audit")],
        env=environment(PATH="/nowhere"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("audit: everything is pinned with hashes: dev.txt, ")


@pytest.mark.parametrize(
    "line",
    first_fast(
        *(f"tool>=1 {HASH}", "tool==1", f"-e . {HASH}", f"tool @ https://host/tool.whl {HASH}"),
        *("tool==1 --hash=md5:00", f"--index-url https://host {HASH}", f"tool==1.* {HASH}"),
    ),
)
def test_what_is_loose_is_named(line: str, tmp_path: Path) -> None:
    ran = audit(tmp_path, PINNED + line + "\n", "echo asked >&2; exit 3")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"audit: lock.txt: '{line[:30]}"[:40]) and ran.err.count("\n") == 1


@pytest.mark.slow
def test_without_pip_audit_or_its_network_that_is_said_and_nothing_is_red(tmp_path: Path) -> None:
    said = [audit(tmp_path, PINNED), audit(tmp_path, PINNED, "echo 'no route to host' >&2; exit 1")]
    assert [(ran.code, ran.err) for ran in said] == [(0, "")] * 2
    assert "NOT looked up, at least not all: pip-audit is not installed" in said[0].out
    assert "NOT looked up, at least not all: pip-audit failed: no route to host" in said[1].out


@pytest.mark.slow
def test_a_known_vulnerability_is_red_and_what_was_skipped_is_counted(tmp_path: Path) -> None:
    flaw = {"id": "PYSEC-1", "fix_versions": ["1.2.4"]}
    rows = [
        {"name": "tool", "version": "1.2.3", "vulns": [flaw]},
        {"name": "other", "skip_reason": "unknown"},
    ]
    ran = audit(tmp_path, PINNED, f"echo '{json.dumps({'dependencies': rows})}'; exit 1")
    assert (ran.code, ran.err) == (1, "audit: tool 1.2.3 has PYSEC-1, mended in 1.2.4\n")
    assert "were looked up for 1 of 2 pins" in ran.out
