"""The filter's program, run here by a machine of a few lines for both kinds of processor."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm_agent.sandbox import seccomp

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, EPERM, ENOSYS, EAFNOSUPPORT = 0x7FFF0000, 0x80000000, 0x50001, 0x50026, 0x50061
UNIX_AND_INTERNET = (1, 2, 10)


def verdict(program: bytes, machine: str, number: int, *arguments: int) -> int:
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<iIQ6Q", number - (1 << 32 if number >> 31 else 0), ARCH.get(machine, 0), 0, *padded)
    lines = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    for _ in lines:
        code, yes, no, k = lines[at]
        at += 1
        if code == 0x06:
            return k
        if code == 0x20:
            value = int.from_bytes(data[k : k + 4], "little")
        elif code == 0x54:
            value &= k
        else:
            holds = {0x15: value == k, 0x25: value > k, 0x45: value & k != 0}[code]
            at += yes if holds else no
    raise AssertionError("it has no end")


CALLS = {  # x86_64, aarch64, arguments, verdict
    "read": (0, 63, (), ALLOW),
    "mount": (165, 40, (), EPERM),
    "bpf": (321, 280, (), EPERM),
    "io_uring_setup": (425, 425, (), EPERM),
    "clone3": (435, 435, (), ENOSYS),
    "openat2": (437, 437, (), ENOSYS),
    "one to come": (470, 470, (), ENOSYS),
    "x32": (0x40000000, 0x40000000, (), ENOSYS),
    "fork": (56, 220, (17,), ALLOW),
    "thread": (56, 220, (0x3D0F00,), ALLOW),
    "clone with a user namespace": (56, 220, (0x10000011,), EPERM),
    "unshare files": (272, 97, (0x400,), ALLOW),
    "unshare time": (272, 97, (0x80,), EPERM),
    "terminal size": (16, 29, (1, 0x5413), ALLOW),
    "TIOCSTI": (16, 29, (1, 0x5412), EPERM),
    "TIOCSTI, the upper half set": (16, 29, (1, 1 << 40 | 0x5412), EPERM),
    "unix socket": (41, 198, (1, 1, 0), ALLOW),
    "tcp socket": (41, 198, (2, 0x80001, 0), ALLOW),
    "raw socket": (41, 198, (2, 0x80003, 1), EPERM),
    "raw socket, IPv6": (41, 198, (10, 3, 58), EPERM),
    "packet socket": (41, 198, (17, 3, 0), EAFNOSUPPORT),
    "routes": (41, 198, (16, 0x80003, 0), ALLOW),
    "audit": (41, 198, (16, 3, 9), EPERM),
    "vsock": (41, 198, (40, 1, 0), EAFNOSUPPORT),
    "openat to read": (257, 56, (0, 0, 0, 0o4755), ALLOW),
    "openat to make": (257, 56, (0, 0, 0x41, 0o755), ALLOW),
    "openat to make set-id": (257, 56, (0, 0, 0x41, 0o4755), EPERM),
    "openat without a name, set-id": (257, 56, (0, 0, 0x410001, 0o2755), EPERM),
    "fchmodat set-id": (268, 53, (0, 0, 0o4755), EPERM),
    "fchmod": (91, 52, (3, 0o1777), ALLOW),
    "mknodat of a FIFO": (259, 33, (0, 0, 0o10644), ALLOW),
    "shmget": (29, 194, (), ALLOW),
}


@pytest.mark.parametrize("machine", ARCH)
@pytest.mark.parametrize("name", CALLS)
def test_a_call(name: str, machine: str) -> None:
    x86, arm, arguments, expected = CALLS[name]
    program = seccomp.program(machine, UNIX_AND_INTERNET, alone=True)
    assert verdict(program, machine, x86 if machine == "x86_64" else arm, *arguments) == expected


@pytest.mark.parametrize(("family", "expected"), [(1, EPERM), (2, EPERM), (10, EPERM), (16, ALLOW)])
def test_in_place_there_are_no_sockets(family: int, expected: int) -> None:
    assert verdict(seccomp.program("x86_64", (), alone=False), "x86_64", 41, family, 1, 0) == expected


@pytest.mark.parametrize(("number", "whose", "expected"), [(29, 0, EPERM), (302, 0, ALLOW), (302, 7, EPERM)])
def test_in_place_what_reaches_others_is_refused(number: int, whose: int, expected: int) -> None:
    assert verdict(seccomp.program("x86_64", (), alone=False), "x86_64", number, whose) == expected


@given(number=st.integers(0, 2**32 - 1), arguments=st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_every_call_has_a_verdict_and_another_processor_is_death(number: int, arguments: list[int]) -> None:
    for machine in ARCH:
        program = seccomp.program(machine, UNIX_AND_INTERNET, alone=False)
        assert verdict(program, machine, number, *arguments) in (ALLOW, EPERM, ENOSYS, EAFNOSUPPORT)
        assert verdict(program, "i386", number, *arguments) == KILL


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        seccomp.program("riscv64", (), alone=True)


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_the_numbers_are_the_kernels(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip("no kernel headers here")
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", Path(header).read_text()))
    column = list(ARCH).index(machine)
    ours = {name: numbers[column] for name, numbers in seccomp.REFUSED.items() if numbers[column] is not None}
    known = {name: int(found[name]) for name in ours if name in found}
    assert known == {name: number for name, number in ours.items() if name in found}
    assert len(known) > 35
