"""More ways out: by other processes, the network, parts of the kernel, devices, and by taking too much."""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from attempts import FACTS, Function, add, call, check, in_child, libc, libc_checked, number, outside, reached

# Other processes: `victim` is one of the same user, `agent` the one that asked for the command.


def read_memory(process: int) -> None:
    room = ctypes.create_string_buffer(8)
    local = struct.pack("=2Q", ctypes.addressof(room), 8)
    call(number(310, 270), process, local, 1, struct.pack("=2Q", FACTS["address"], 8), 1, 0)


def pidfd(process: int) -> int:
    return call(434, process, 0)


def key_in(name: str) -> None:
    """In what `name` says in the folder of any process but our own."""
    found: list[bytes] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((folder / name).read_bytes())
        except OSError:
            continue
    check(FACTS["key"].encode() in b"".join(found))


def queue_signal() -> None:
    about = struct.pack("=iii", signal.SIGCONT, 0, -1).ljust(128, b"\0")
    call(number(129, 138), FACTS["victim"], signal.SIGCONT, about)


def own_signals() -> None:
    """Have the kernel send it signals of our descriptor."""
    fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, FACTS["victim"])


def seize(process: int) -> None:
    """Not ATTACH, which would stop it."""
    in_child(lambda: call(number(101, 117), 0x4206, process, None, None))()


PROCESSES: dict[str, Callable[[int], object]] = {
    "signal": lambda process: os.kill(process, signal.SIGCONT),
    "signal_none": lambda process: os.kill(process, 0),
    "thread_signal": lambda process: call(number(234, 131), process, process, signal.SIGCONT),
    "group_signal": lambda process: os.killpg(os.getpgid(process), signal.SIGCONT),
    "pidfd": pidfd,
    "pidfd_signal": lambda process: call(424, pidfd(process), signal.SIGCONT, None, 0),
    "pidfd_getfd": lambda process: call(438, pidfd(process), 1, 0),
    "ptrace": seize,
    "read_memory": read_memory,
    "memory": lambda process: Path(f"/proc/{process}/mem").open("rb").close(),
    "environ": lambda process: check(Path(f"/proc/{process}/environ").read_bytes()),
    "command_line": lambda process: check(Path(f"/proc/{process}/cmdline").read_bytes()),
    "maps": lambda process: check(Path(f"/proc/{process}/maps").read_bytes()),
    "program": lambda process: os.readlink(f"/proc/{process}/exe"),
    "descriptors": lambda process: os.listdir(f"/proc/{process}/fd"),
    "priority": lambda process: os.setpriority(os.PRIO_PROCESS, process, 0),
    "affinity": lambda process: os.sched_setaffinity(process, os.sched_getaffinity(process)),
    "scheduler": os.sched_getscheduler,
    "limits": lambda process: resource.prlimit(process, resource.RLIMIT_CORE),
    "kcmp": lambda process: call(number(312, 272), os.getpid(), process, 0, 1, 1),
    "io_priority": lambda process: call(number(252, 31), 1, process),
    "session": os.getsid,
}
for what, touch in PROCESSES.items():
    add(f"victim_{what}", lambda touch=touch: touch(FACTS["victim"]))
for what in ("signal", "pidfd", "memory", "environ", "descriptors", "limits", "priority"):
    add(f"agent_{what}", lambda what=what: PROCESSES[what](FACTS["agent"]))
add("victim_queue_signal", queue_signal)
add("victim_own_signals", own_signals)
add("key_in_environments", lambda: key_in("environ"))
add("key_in_command_lines", lambda: key_in("cmdline"))
add("key_in_own_environment", lambda: check(FACTS["key"] in str(os.environ)))
add("init_environ", lambda: check(Path("/proc/1/environ").read_bytes()), "", "the machine's own")
add("init_memory", lambda: Path("/proc/1/mem").open("rb").close(), "", "the machine's own")
add("init_descriptor", lambda: os.readlink("/proc/1/fd/0"), "", "the machine's own")
add("init_ptrace", lambda: seize(1), "", "the machine's own")
add("inherited_descriptors", lambda: check(len(FACTS["open"]) > 4))
add("inherited_plan", lambda: check("memfd" in os.readlink("/proc/self/fd/0")), "", "made by the launcher")


# The network, and sockets of this machine

UDP, TCP, RAW = socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_RAW
V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


def connect(family: int, address: str | tuple[str, int], kind: int = TCP, protocol: int = 0) -> None:
    with socket.socket(family, kind, protocol) as sock:
        sock.settimeout(0.2)
        sock.connect(address)


def answered() -> None:
    with socket.socket(V4, UDP) as sock:
        sock.settimeout(0.1)
        sock.sendto(b"?", ("127.0.0.1", FACTS["udp"]))
        check(sock.recv(1))


def fast_open() -> None:
    with socket.socket() as sock:
        sock.sendto(b"?", 0x20000000, ("127.0.0.1", FACTS["tcp"]))
        check(sock.getpeername())


def datagram_out() -> None:
    with socket.socket(UNIX, UDP) as sock:
        sock.sendto(b"?", outside("datagram"))


def received() -> None:
    """A descriptor, from a socket outside that gives them away."""
    with socket.socket(UNIX) as sock:
        sock.settimeout(0.2)
        sock.connect(outside("giver"))
        _, extra, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(4))
        check(os.read(array.array("i", extra[0][2])[0], 1))


def raise_interface() -> None:
    with socket.socket(V4, UDP) as sock:
        fcntl.ioctl(sock, 0x8914, b"lo".ljust(16, b"\0") + struct.pack("=H", 0x41) + bytes(22))


def mark_packets() -> None:
    with socket.socket(V4, UDP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 1)


NETWORK: dict[str, tuple[Function, str]] = {
    "tcp_localhost": (lambda: connect(V4, ("127.0.0.1", FACTS["tcp"])), "any"),
    "tcp_localhost_other": (lambda: connect(V4, ("127.1.2.3", FACTS["tcp"])), "any"),
    "tcp_any": (lambda: connect(V4, ("0.0.0.0", FACTS["tcp"])), "any"),
    "tcp_ipv6": (lambda: connect(V6, ("::1", FACTS["tcp6"])), "any"),
    "tcp_mapped": (lambda: connect(V6, ("::ffff:127.0.0.1", FACTS["tcp"])), "any"),
    "tcp_fast_open": (fast_open, "any"),
    "mptcp": (lambda: connect(V4, ("127.0.0.1", FACTS["tcp"]), TCP, 262), ""),
    "udp_localhost": (answered, "any"),
    "udp_route": (lambda: connect(V4, ("192.0.2.1", 53), UDP), ""),
    "udp_route_ipv6": (lambda: connect(V6, ("2001:db8::1", 53), UDP), ""),
    "dns": (lambda: socket.getaddrinfo("example.invalid.", 53), ""),
    "sctp": (lambda: connect(V4, ("127.0.0.1", FACTS["tcp"]), TCP, 132), ""),
    "udp_lite": (lambda: connect(V4, ("192.0.2.1", 53), UDP, 136), ""),
    "ping": (lambda: connect(V4, ("192.0.2.1", 1), UDP, 1), ""),
    "abstract": (lambda: connect(UNIX, FACTS["abstract"]), "any"),
    "pathname": (lambda: connect(UNIX, outside("giver")), "any"),
    "pathname_datagram": (datagram_out, "any"),
    "passed_descriptor": (received, "any"),
    "raw_icmp": (lambda: socket.socket(V4, RAW, 1), "root"),
    "raw_ipv6": (lambda: socket.socket(V6, RAW, 58), "root"),
    "packet": (lambda: socket.socket(17, RAW, 3), "root"),
    "packet_datagram": (lambda: socket.socket(17, UDP, 3), "root"),
    "netlink_audit": (lambda: socket.socket(16, RAW, 9), ""),
    "netlink_events": (lambda: socket.socket(16, RAW, 15), "any"),
    "netlink_netfilter": (lambda: socket.socket(16, RAW, 12), ""),
    "vsock": (lambda: socket.socket(40, TCP), ""),
    "alg": (lambda: socket.socket(38, 5), ""),
    "xdp": (lambda: socket.socket(44, RAW), ""),
    "key": (lambda: socket.socket(15, RAW, 2), ""),
    "tipc": (lambda: socket.socket(30, TCP), ""),
    "bluetooth": (lambda: socket.socket(31, RAW), ""),
    "can": (lambda: socket.socket(29, RAW, 1), ""),
    "interface_up": (raise_interface, "root"),
    "mark": (mark_packets, "root"),
    "tun": (lambda: os.close(os.open("/dev/net/tun", 0)), ""),
}
for what, (function, who) in NETWORK.items():
    add(f"net_{what}", function, who, "" if who else "not on every machine")


# Parts of the kernel


def perf() -> int:
    return call(number(298, 241), struct.pack("=2I", 1, 112).ljust(112, b"\0"), 0, -1, -1, 0)


def by_handle() -> None:
    """Open a file by what `name_to_handle_at` said of it outside."""
    handle, folder = bytes.fromhex(FACTS["handle"]), os.open(".", os.O_RDONLY)
    check(os.read(call(number(304, 265), folder, handle, 0), 1))


def terminal(request: int) -> Function:
    """Type into a terminal of its own, which is allowed outside."""

    def run() -> None:
        os.setsid()
        main, side = os.openpty()
        fcntl.ioctl(side, 0x540E, 0)  # TIOCSCTTY
        libc_checked(libc.ioctl(side, ctypes.c_ulong(request), b"x"))
        check(main)

    return in_child(run)


def int80() -> None:
    """The 32-bit way in, where numbers mean other calls: getpid is 20."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    check(ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid())


def set_id_by(name: str, make: Callable[[str], object]) -> Function:
    def run() -> None:
        path = f"{FACTS['root']}/set-id-{name}"
        make(path)
        check(os.stat(path).st_mode & 0o6000)

    return run


def plain(path: str) -> str:
    Path(path).write_text("")
    return path


def by_openat2(path: str) -> None:
    call(437, -100, path.encode(), struct.pack("=3Q", os.O_CREAT | os.O_WRONLY, 0o4755, 0), 24)


def set_id_program() -> None:
    """A program of root's that runs as root: who does it say that we are?"""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        os.execv(FACTS["set_id"], [FACTS["set_id"], "-u"])
    os.waitpid(child, 0)
    os.close(writing)
    check(os.read(reading, 16).strip() == b"0")


def memory_program() -> None:
    """A program that is no file may run, but is as confined as any."""
    memory = os.memfd_create("program", 0)
    os.write(memory, f"#!/bin/sh\necho x >> {outside('program')}\n".encode())
    child = os.fork()
    if not child:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        os.execv(f"/proc/self/fd/{memory}", ["program"])
    check(os.waitpid(child, 0)[1] == 0)


def splice_memory() -> None:
    room = ctypes.create_string_buffer(8)
    call(number(278, 75), os.pipe()[1], struct.pack("=2Q", ctypes.addressof(room), 8), 1, 0)


def status_says(what: str) -> Function:
    return lambda: check(what in Path("/proc/self/status").read_text())


KERNEL: dict[str, tuple[Function, str]] = {
    "io_uring": (lambda: call(425, 1, bytes(120)), "any"),
    "io_uring_register": (reached(errno.EINVAL, lambda: call(427, -1, 0, None, 0)), "any"),
    "bpf": (reached(errno.EINVAL, lambda: call(number(321, 280), 99, bytes(64), 64)), "root"),
    "perf": (perf, "root"),
    "userfaultfd": (lambda: call(number(323, 282), 0), "root"),
    "keyctl": (lambda: call(number(250, 219), 0, -3, 1), "any"),
    "add_key": (lambda: call(number(248, 217), b"user", b"x", b"y", 1, -2), "any"),
    "request_key": (reached(errno.ENOKEY, lambda: call(number(249, 218), b"user", b"no", None, 0)), ""),
    "fanotify": (lambda: call(number(300, 262), 0, 0), "root"),
    "handle": (by_handle, "root"),
    "syslog": (lambda: call(number(103, 116), 10, None, 0), "root"),
    "reboot": (reached(errno.EINVAL, lambda: call(number(169, 142), 0, 0, 0, 0)), "root"),
    "swapon": (reached(errno.ENOENT, lambda: call(number(167, 224), b"/none", 0)), "root"),
    "acct": (reached(errno.ENOENT, lambda: call(number(163, 89), b"/none")), ""),
    "quotactl": (lambda: call(number(179, 60), 0x800001, None, 0, None), ""),
    "module": (reached(errno.ENOEXEC, lambda: call(number(175, 105), bytes(64), 64, b"")), ""),
    "module_file": (reached(errno.EBADF, lambda: call(number(313, 273), -1, b"", 0)), ""),
    "kexec": (reached(errno.EINVAL, lambda: call(number(246, 104), 0, 99, None, 0)), ""),
    "clock": (reached(errno.EINVAL, lambda: call(number(227, 112), 99, bytes(16))), "any"),
    "host_name": (reached(errno.EINVAL, lambda: libc_checked(libc.sethostname(b"x", 99))), "root"),
    "x32": (lambda: call(0x40000000 + 39), ""),
    "future_call": (lambda: call(600), ""),
    "int80": (in_child(int80), ""),
    "vmsplice": (splice_memory, "any"),
    "move_pages": (lambda: call(number(279, 239), 0, 0, None, None, None, 0), ""),
    "process_madvise": (reached(errno.EBADF, lambda: call(440, -1, None, 0, 0, 0)), ""),
    "tiocsti": (terminal(0x5412), "root"),
    "tiocsti_wide": (terminal(0x5412 | 1 << 40), "root"),
    "tioclinux": (terminal(0x541C), ""),
    "capabilities": (
        lambda: check("CapBnd:\t0000000000000000" not in Path("/proc/self/status").read_text()),
        "root",
    ),
    "privileges": (status_says("NoNewPrivs:\t0"), "any"),
    "no_filter": (status_says("Seccomp:\t0"), "any"),
    "be_root": (in_child(lambda: os.setuid(1 if os.getuid() == 0 else 0)), "root"),
    "be_other": (in_child(lambda: os.setresuid(1234, 1234, 1234)), "root"),
    "other_group": (in_child(lambda: os.setgid(5)), "root"),
    "groups": (in_child(lambda: os.setgroups([0, 5])), "root"),
    "set_id_program": (set_id_program, "user"),
    "set_id_chmod": (set_id_by("chmod", lambda path: os.chmod(plain(path), 0o4755)), "any"),
    "set_id_fchmod": (set_id_by("fchmod", lambda path: os.fchmod(os.open(plain(path), 0), 0o4755)), "any"),
    "set_id_at2": (set_id_by("at2", lambda path: call(452, -100, plain(path).encode(), 0o4755, 0)), "any"),
    "set_id_open": (set_id_by("open", lambda path: os.close(os.open(path, os.O_CREAT, 0o4755))), "any"),
    "set_id_openat2": (set_id_by("openat2", by_openat2), "any"),
    "set_id_mknod": (set_id_by("mknod", lambda path: os.mknod(path, 0o104755)), "any"),
    "memory_program": (memory_program, "any"),
    "shared_memory": (lambda: libc_checked(libc.shmget(FACTS["shm_key"], 1, 0)), "any"),
    "chmod_null": (lambda: os.chmod("/dev/null", 0o666), "root"),
    "utime_null": (lambda: os.utime("/dev/null"), "root"),
}
for what, (function, who) in KERNEL.items():
    add(f"kernel_{what}", function, who, "" if who else "real, or not on every machine")


# Devices, and what the kernel shows of itself

for device in (
    "mem",
    "kmsg",
    "kvm",
    "fuse",
    "vda",
    "sda",
    "nvme0n1",
    "loop-control",
    "tty0",
    "console",
    "ttyS0",
):
    path = f"/dev/{device}"
    add(f"device_{device}", lambda path=path: os.close(os.open(path, 0)), "", "not on every machine")
add("device_new_block", lambda: os.mknod(f"{FACTS['root']}/block", 0o60600, os.makedev(254, 0)), "root")
add("device_new_char", lambda: os.mknod(f"{FACTS['root']}/char", 0o20600, os.makedev(1, 1)), "root")
add("device_white", lambda: os.mknod(f"{FACTS['root']}/white", 0o20600, 0))
add("device_in_dev", lambda: check(Path("/dev/new").write_text("x") and False), "", "of every machine")
SETTINGS = (
    *("kernel/core_pattern", "kernel/hostname", "vm/overcommit_memory", "fs/file-max"),
    *("kernel/pid_max", "net/ipv4/ip_forward", "kernel/randomize_va_space"),
)
for setting in SETTINGS:
    path = f"/proc/sys/{setting}"
    add(
        f"setting_{setting.rpartition('/')[2]}",
        lambda path=path: os.close(os.open(path, os.O_WRONLY)),
        "root",
    )
add("setting_sysrq", lambda: os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY)), "")
add("setting_irq", lambda: os.close(os.open("/proc/irq/default_smp_affinity", os.O_WRONLY)), "")
for file in ("kcore", "kmsg", "kallsyms", "keys", "timer_list", "config.gz"):
    path = f"/proc/{file}"
    add(f"proc_{file}", lambda path=path: check(os.read(os.open(path, os.O_NONBLOCK), 9)), "", "varies")
add("proc_oom_score", lambda: Path("/proc/self/oom_score_adj").write_text("-1000"), "", "not everywhere")
add("proc_other_processes", lambda: check(Path(f"/proc/{FACTS['victim']}").exists()))
add("cgroups", lambda: check(list(Path("/sys/fs/cgroup").iterdir())), "", "not everywhere")
add("sys_kernel", lambda: check(list(Path("/sys/kernel").iterdir())))
add("run_folder", lambda: check(os.listdir("/run")), "", "not everywhere")


# Too much


def many_processes() -> None:
    children: list[int] = []
    try:
        for _ in range(FACTS["processes"] + 30):
            child = os.fork()
            if not child:
                time.sleep(20)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def many_threads() -> None:
    end = threading.Event()
    try:
        for _ in range(FACTS["processes"] + 30):
            threading.Thread(target=end.wait).start()
    finally:
        end.set()


def large_file(size: int) -> None:
    path = Path(FACTS["root"], "large")
    try:
        path.touch()
        os.truncate(path, size)
    finally:
        path.unlink()


def long_write() -> None:
    file = os.open(f"{FACTS['root']}/long", os.O_CREAT | os.O_WRONLY)
    check(os.pwrite(file, b"x", FACTS["file_size"]))


add("much_memory", lambda: mmap.mmap(-1, FACTS["memory"] + 4096, flags=mmap.MAP_PRIVATE).close())
add("much_file", lambda: large_file(FACTS["file_size"] + 1))
add("much_file_written", long_write)
add("much_in_root", lambda: check(os.statvfs("/").f_blocks * 4096 > 1 << 30), "any")
add("more_than_allowed", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FACTS["file_size"] + 1,) * 2))
add("core_files", lambda: check(resource.getrlimit(resource.RLIMIT_CORE)[1] != 1))
add("many_processes", in_child(many_processes))
add("many_threads", in_child(many_threads))
