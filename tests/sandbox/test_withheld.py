"""What the sandbox kept from a command that failed, told from what the command said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from glm_agent.sandbox import Policy, withheld


@pytest.mark.parametrize(
    ("output", "note"),
    [
        ("curl: (6) Could not resolve host: example.org", "network is off: --network"),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "network is off: --network"),
        ("OSError: [Errno 101] Network is unreachable", "network is off: --network"),
        ("getaddrinfo EAI_AGAIN registry.example", "network is off: --network"),
        ("fatal: Unable to create '/w/.git/index.lock': Read-only file system", "read-only: .git"),
        (
            "sh: 1: cannot create .github/workflows/a.yml: Read-only file system",
            "read-only: .github/workflows",
        ),
        ("mv: cannot move '.git' to 'x': Device or resource busy", "read-only: .git"),
        (
            "touch: cannot touch '/usr/x': Read-only file system",
            "writable are only the repository, $HOME and /tmp",
        ),
        ("open: File too large", "files may have 4096 MiB"),
        ("sh: 0: Cannot fork", "at most 4096 processes and threads"),
        ("1 failed, 2 passed", None),
        ("./x: Permission denied", None),
        ("it says .gitignore is a Read-only file", None),
    ],
)
def test_a_command_that_failed(output: str, note: str | None, policy: Policy) -> None:
    assert withheld(output.encode(), 1, policy) == note


def test_nothing_is_said_of_a_command_that_succeeded(policy: Policy) -> None:
    assert withheld(b"Network is unreachable", 0, policy) is None


def test_with_the_network_on_it_is_not_blamed(policy: Policy) -> None:
    assert withheld(b"Network is unreachable", 1, replace(policy, network=True)) is None


def test_two_things_are_both_told(policy: Policy) -> None:
    said = b"Network is unreachable\n.envrc: Read-only file system\n"
    assert withheld(said, None, policy) == "network is off: --network; read-only: .envrc"


def test_a_rename_out_of_a_folder_with_secrets_is_explained(policy: Policy) -> None:
    said, hidden = b"OSError: [Errno 18] Invalid cross-device link: 'be/a.py' -> 'a.py'\n", (Path("/x/.env"),)
    note = "folders with secret files are mounted: copy and delete (mv does) instead of renaming"
    assert withheld(said, 1, replace(policy, hidden=hidden)) == note
    assert withheld(said, 1, replace(policy, hidden=())) is None
