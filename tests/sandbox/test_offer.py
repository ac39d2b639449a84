"""What is offered where: as this machine is, and where the kernel refuses namespaces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from glm_agent import sandbox
from glm_agent.sandbox import Offer, kernel

SAY = """
from glm_agent import sandbox
offer = sandbox.probe()
print(offer.tier, offer.landlock_abi, len(offer.gaps))
print(offer.reason)
"""


@pytest.fixture
def anew() -> Iterator[None]:
    sandbox.probe.cache_clear()
    yield
    sandbox.probe.cache_clear()


def test_the_best_is_offered_and_the_answer_is_kept(anew: None) -> None:
    offer = sandbox.probe()
    assert offer.landlock_abi == kernel.landlock_abi()
    assert (offer.tier is None) <= bool(offer.reason)
    assert sandbox.probe() is offer


def test_where_namespaces_can_be_had_so_can_the_first_tier(anew: None) -> None:
    """Else what needs it would be passed over, whatever broke it."""
    try_it = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x7C020000) != 0)"
    if subprocess.run([sys.executable, "-c", try_it], check=False).returncode:
        pytest.skip("no namespaces here")
    assert (sandbox.probe().tier, sandbox.probe().reason) == ("A", "")


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_than_on_linux_nothing_is_offered(
    platform: str, anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    reason = f"commands can be confined on Linux only, not on {platform}"
    assert sandbox.probe() == Offer(None, reason, 0, ())


def test_without_namespaces_the_second_tier_is_offered_and_says_what_it_lacks() -> None:
    """Forbidden as a container forbids them: by a limit that holds below a namespace of one's own."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    argv = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", sys.executable, "-c", SAY]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode or kernel.landlock_abi() < 6:
        pytest.skip(f"cannot be had here: {done.stderr}")
    what, why = done.stdout.split("\n")[:2]
    assert what == f"B {kernel.landlock_abi()} {len(sandbox.GAPS_IN_PLACE)}"
    assert why.startswith("enter_namespaces > unshare: No space left on device; ")
    assert "user namespaces may be switched off" in why
