"""Some 300 ways out, each tried inside; those for which that is safe are first shown to work outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attempts import OWN

from glm_agent import sandbox

Drive = Callable[[str], dict[str, Any]]

# What a kernel or a container may refuse anybody.
VARIES = {
    *("unshare_user", "unshare_with_files", "clone_user", "clone_user_and_mount", "clone3_user"),
    *("net_tcp_ipv6", "net_tcp_mapped", "net_tcp_fast_open", "net_netlink_events", "net_raw_ipv6"),
    *("kernel_io_uring", "kernel_io_uring_register", "kernel_keyctl", "kernel_add_key", "kernel_tiocsti"),
    *("kernel_tiocsti_wide", "kernel_set_id_program", "kernel_perf", "kernel_set_id_at2", "victim_kcmp"),
    *("victim_pidfd_getfd", "victim_ptrace", "victim_read_memory", "victim_memory", "kernel_privileges"),
    *("kernel_no_filter", "core_files", "sys_kernel", "device_white", "outside_setxattr"),
}
# What Landlock and seccomp do not mediate: offer.GAPS_IN_PLACE in detail.
IN_PLACE = {
    *("outside_chmod", "outside_utime", "outside_setxattr", "outside_chown", "outside_stat"),
    *("outside_watch", "outside_chdir", "secret__etc_shadow", "secret__root_.bashrc"),
    *("kernel_chmod_null", "kernel_utime_null", "much_in_root", "many_processes"),
    *("victim_pidfd", "victim_command_line", "victim_descriptors", "victim_scheduler", "victim_session"),
    *(
        "victim_io_priority",
        "victim_own_signals",
        "victim_priority",
        "victim_affinity",
        "key_in_command_lines",
    ),
    *("agent_pidfd", "agent_descriptors", "agent_priority", "proc_other_processes"),
    *(
        "proc_kallsyms",
        "proc_keys",
        "proc_timer_list",
        "proc_config.gz",
        "read_in_cache_credentials",
        "kernel_capabilities",
    ),
    *("readable_chmod", "readable_utime", "readable_setxattr", "readable_chown"),
    *OWN,  # put back afterwards
}


def require(tier: sandbox.Tier) -> None:
    offer = sandbox.probe()
    if offer.tier is None or (tier == "A" and offer.tier != "A") or offer.landlock_abi < 6:
        pytest.skip(f"not to be had here: {offer.reason or 'Landlock is too old'}")


@pytest.mark.slow
def test_without_a_sandbox_they_get_out(drive: Drive, person: str) -> None:
    found = drive(person)["found"]
    stopped = {name: how for name, how in found.items() if how != "out" and name not in VARIES}
    assert stopped == {}
    assert len(found) > {"root": 230, "user": 170}[person]


def test_in_a_new_root_none_gets_out_and_nothing_outside_has_changed(drive: Drive) -> None:
    require("A")
    answer = drive("A")
    out = [name for name, how in answer["found"].items() if how == "out"]
    assert (out, answer["changed"], answer["undone"]) == ([], [], [])
    assert len(answer["found"]) > 300


@pytest.mark.slow
def test_in_place_only_the_known_gaps_are_open_and_git_is_put_back(drive: Drive) -> None:
    require("B")
    answer = drive("B")
    out = {name for name, how in answer["found"].items() if how == "out"}
    assert out - IN_PLACE == set()
    written = {
        f"{place}/{what}" for place in ("outside", "home/tools") for what in ("chmod", "setxattr", "utime")
    }
    assert set(answer["changed"]) <= written, answer["undone"]
