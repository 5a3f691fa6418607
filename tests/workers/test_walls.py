"""Code that has taken over a worker: what it tries fails, and the worker still answers queries."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import socket
import textwrap

import polars as pl
import pytest
from bastion_plan.expressions import Alias, Call, Column
from bastion_plan.nodes import GroupBy, Scan

PRELUDE = """
import ctypes, errno, os, socket, signal, resource, mmap, fcntl
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    value = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    if value < 0:
        raise OSError(ctypes.get_errno(), "syscall")
    return value
def attempt():
"""
EPILOGUE = """
try:
    attempt()
    result = "succeeded"
except OSError as error:
    result = errno.errorcode[error.errno]
except Exception as error:
    result = repr(error)
"""

#: numbers of the calls that are tried, by machine (Linux: unistd_64.h, asm-generic/unistd.h); -1: it has none, which fails like one that is refused
NUMBERS = {
    "x86_64": {
        "connect": 42, "bind": 49, "listen": 50, "execveat": 322, "vfork": 58, "clone": 56, "ptrace": 101,
        "process_vm_readv": 310, "process_vm_writev": 311, "tgkill": 234, "rt_sigqueueinfo": 129, "pidfd_open": 434,
        "pidfd_send_signal": 424, "setrlimit": 160, "prctl": 157, "mprotect": 10, "unshare": 272, "mount": 165,
        "bpf": 321, "io_uring_setup": 425, "userfaultfd": 323, "keyctl": 250, "add_key": 248, "perf_event_open":
        298, "kexec_load": 246, "finit_module": 313, "shmget": 29, "msgget": 68, "inotify_init1": 294,
        "clock_settime": 227, "openat2": 437, "clone3": 435,
    },
    "aarch64": {
        "connect": 203, "bind": 200, "listen": 201, "execveat": 281, "vfork": -1, "clone": 220, "ptrace": 117,
        "process_vm_readv": 270, "process_vm_writev": 271, "tgkill": 131, "rt_sigqueueinfo": 138, "pidfd_open": 434,
        "pidfd_send_signal": 424, "setrlimit": 164, "prctl": 167, "mprotect": 226, "unshare": 97, "mount": 40,
        "bpf": 280, "io_uring_setup": 425, "userfaultfd": 282, "keyctl": 219, "add_key": 217, "perf_event_open":
        241, "kexec_load": 104, "finit_module": 273, "shmget": 194, "msgget": 186, "inotify_init1": 26,
        "clock_settime": 112, "openat2": 437, "clone3": 435,
    },
}  # fmt: skip
#: what only a file wall stops
READS = {
    "read a file": "open('/etc/passwd').read()",
    "read the server's environment": "open(f'/proc/{os.getppid()}/environ').read()",
    "read its own environment block": "open('/proc/self/environ').read()",
    "list a folder": "os.listdir('/')",
    "list its descriptors": "os.listdir('/proc/self/fd')",
    "read a device": "open('/dev/zero','rb').read(1)",
}
#: what both walls stop
WRITES = {
    "write a file": "open('/tmp/taken','w')",
    "write to the spill folder": "os.open('/var/tmp/spill', os.O_CREAT | os.O_WRONLY)",
    "make an unnamed file": "os.open('/var/tmp', os.O_TMPFILE | os.O_RDWR)",
    "truncate a file": "os.truncate('/etc/hostname', 0)",
    "make a folder": "os.mkdir('/tmp/taken')",
    "remove a file": "os.unlink('/etc/hostname')",
    "link a file": "os.symlink('/etc/passwd', '/tmp/taken')",
    "signal its parent": "os.kill(os.getppid(), signal.SIGTERM)",
}
#: what the system-call filter stops
CALLS = {
    "open a TCP socket": "socket.socket()",
    "open a Unix socket": "socket.socket(socket.AF_UNIX)",
    "open a netlink socket": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "make a socket pair": "socket.socketpair()",
    "connect its channel elsewhere": "call(NR_connect, 3, 0, 0)",
    "bind its channel": "call(NR_bind, 3, 0, 0)",
    "listen on its channel": "call(NR_listen, 3, 1)",
    "start a program": "os.execv('/bin/true', ['true'])",
    "start a program by descriptor": "call(NR_execveat, 3, 0, 0, 0, 0x1000)",
    "fork": "os.fork()",
    "vfork": "call(NR_vfork)",
    "clone a process": "call(NR_clone, signal.SIGCHLD, 0, 0, 0, 0)",
    "clone into a namespace": "call(NR_clone, 0x10000 | 0x100 | 0x800 | 0x10000000, 0, 0, 0, 0)",
    "trace": "call(NR_ptrace, 0, 0, 0, 0)",
    "read a process's memory": "call(NR_process_vm_readv, os.getppid(), 0, 0, 0, 0, 0)",
    "write a process's memory": "call(NR_process_vm_writev, os.getppid(), 0, 0, 0, 0, 0)",
    "make a memory file": "os.memfd_create('x')",
    "signal another thread group": "call(NR_tgkill, os.getppid(), os.getppid(), 0)",
    "signal everyone": "os.kill(-1, 0)",
    "queue a signal": "call(NR_rt_sigqueueinfo, os.getppid(), 10, 0)",
    "open a pidfd": "call(NR_pidfd_open, os.getppid(), 0)",
    "send a signal by pidfd": "call(NR_pidfd_send_signal, 0, 15, 0, 0)",
    "raise its limits": "call(NR_setrlimit, resource.RLIMIT_AS, ctypes.addressof(ctypes.create_string_buffer(bytes(16))))",
    "raise its limits by prlimit": "resource.prlimit(os.getpid(), resource.RLIMIT_FSIZE, (-1, -1))",
    "become dumpable": "call(NR_prctl, 4, 1, 0, 0, 0)",
    "outlive its parent": "call(NR_prctl, 1, 0, 0, 0, 0)",
    "map code": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "make memory executable": "call(NR_mprotect, ctypes.addressof(ctypes.create_string_buffer(8192)) & ~4095, 4096, 5)",
    "become another user": "os.setuid(0)",
    "unshare": "call(NR_unshare, 0x10000000)",
    "mount": "call(NR_mount, 0, 0, 0, 0, 0)",
    "change root": "os.chroot('/')",
    "load a BPF program": "call(NR_bpf, 0, 0, 0)",
    "set up io_uring": "call(NR_io_uring_setup, 1, 0)",
    "userfaultfd": "call(NR_userfaultfd, 0)",
    "keyctl": "call(NR_keyctl, 0, 0, 0, 0, 0)",
    "add a key": "call(NR_add_key, 0, 0, 0, 0, 0)",
    "perf events": "call(NR_perf_event_open, 0, 0, -1, -1, 0)",
    "load a kernel": "call(NR_kexec_load, 0, 0, 0, 0)",
    "load a module": "call(NR_finit_module, 3, 0, 0)",
    "share memory by name": "call(NR_shmget, 1, 4096, 0o1600)",
    "make a message queue": "call(NR_msgget, 1, 0o1600)",
    "watch files": "call(NR_inotify_init1, 0)",
    "set the clock": "call(NR_clock_settime, 0, 0)",
    "get a file owner's signals": "fcntl.fcntl(3, fcntl.F_SETOWN, os.getppid())",
    "push bytes into a terminal": "fcntl.ioctl(0, 0x5412, b'x')",
    "openat2": "call(NR_openat2, -100, 0, 0, 0)",
    "clone3": "call(NR_clone3, 0, 0)",
}
STOPPED = {"EPERM", "EACCES", "ENOSYS", "ENOTTY"}


def _source(attempt: str) -> str:
    attempt = re.sub(r"\bNR_(\w+)", lambda found: str(NUMBERS[platform.machine()][found[1]]), attempt)
    return PRELUDE + textwrap.indent(attempt, "    ") + EPILOGUE


def _sum(lease, fd):
    async def run():
        await lease.bind({"d": fd})
        answer = await lease.run(GroupBy(Scan("d"), (Column("g"),), (Alias(Call("sum", (Column("v"),)), "s"),)))
        return dict(pl.read_ipc(bytes(answer)).rows())

    return run()


@pytest.mark.parametrize(
    ("mode", "attempts"),
    [
        ("all", READS | WRITES | CALLS),
        ("no-seccomp", READS | WRITES),
        ("no-landlock", WRITES | CALLS),
    ],
)
def test_every_wall_stops_what_it_is_for(mode, attempts, pooling, probe, table):
    async def scenario():
        outcomes = {}
        fd = table(pl.DataFrame({"g": ["a", "b", "a"], "v": [1, 2, 3]}))
        async with pooling(mode) as pool, await pool.acquire() as lease:
            for name, attempt in attempts.items():
                outcomes[name] = await probe(lease, _source(attempt))
            return outcomes, await _sum(lease, fd)

    outcomes, sums = asyncio.run(scenario())
    assert {name: outcome for name, outcome in outcomes.items() if outcome not in STOPPED} == {}
    assert sums == {"a": 4, "b": 2}


@pytest.mark.parametrize(
    ("mode", "attempt"),
    [
        ("no-landlock", READS["read a file"]),
        ("no-seccomp", CALLS["make a socket pair"]),
        ("no-seccomp", CALLS["make a memory file"]),
    ],
)
def test_an_attempt_succeeds_where_its_wall_is_missing(mode, attempt, pooling, probe):
    async def scenario():
        async with pooling(mode) as pool, await pool.acquire() as lease:
            return await probe(lease, _source(attempt))

    assert asyncio.run(scenario()) == "succeeded"


def test_landlock_alone_stops_tcp_connections(pooling, probe):
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            async with pooling("no-seccomp") as pool, await pool.acquire() as lease:
                connect = f"socket.create_connection(('127.0.0.1', {port}))"
                bind = "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()"
                return await probe(lease, _source(connect)), await probe(lease, _source(bind))

    assert set(asyncio.run(scenario())) <= {"EACCES"}


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("no-landlock", ["Landlock"]),
        ("no-seccomp", ["system-call filter"]),
        ("none", ["Landlock", "system-call filter"]),
    ],
)
def test_a_missing_wall_is_reported_and_logged(mode, missing, pooling, caplog):
    async def scenario():
        async with pooling(mode) as pool:
            return pool.sandbox_report

    report = asyncio.run(scenario())
    assert not report.complete
    for word in missing:
        assert any(word in warning for warning in report.warnings)
        assert word in caplog.text


def test_all_walls_stand_on_this_machine(pooling, caplog):
    async def scenario():
        async with pooling() as pool:
            return pool.sandbox_report

    report = asyncio.run(scenario())
    assert report.complete
    assert report.warnings == ()
    assert caplog.text == ""


def test_nothing_of_the_server_is_visible(monkeypatch, tmp_path, pooling, probe):
    monkeypatch.setenv("BASTION_SECRET", "hunter2")
    secret = open(tmp_path / "key", "w+")  # noqa: SIM115
    os.set_inheritable(secret.fileno(), True)

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            environment = await probe(lease, "import os; result = sorted(os.environ)")
            held = await probe(
                lease,
                "import fcntl\nresult = []\nfor fd in range(4096):\n"
                "    try: fcntl.fcntl(fd, fcntl.F_GETFD); result.append(fd)\n    except OSError: pass",
            )
            who = await probe(lease, "import os; result = [os.getuid(), os.getgid(), os.sysconf('SC_OPEN_MAX')]")
            core = await probe(lease, "import resource; result = list(resource.getrlimit(resource.RLIMIT_CORE))")
            tools = await probe(
                lease, "import sys; result = [m for m in sys.modules if 'testing' in m or 'hypothesis' in m]"
            )
            return environment, held, who, core, tools

    environment, held, who, core, tools = asyncio.run(scenario())
    secret.close()
    # the last is the engine's own, set when it is imported
    assert environment == ["LANG", "OPENBLAS_NUM_THREADS", "POLARS_OOC_DISK_BUDGET_MB", "TZ", "_RJEM_MALLOC_CONF"]
    # 0-3 are null, null, last words, channel; the others are the engine's own (epoll, eventfd), no files
    assert set(held) >= {0, 1, 2, 3}
    assert len(held) <= 12
    assert 0 not in who[:2]
    assert core == [0, 0]
    assert tools == [], "what tests are made with is no part of an engine"


def test_held_descriptors_are_no_files(pooling, probe):
    source = (
        "import os, stat\nresult = []\nfor fd in range(5, 64):\n    try: mode = os.fstat(fd).st_mode\n"
        "    except OSError: continue\n    result.append(stat.S_ISREG(mode) or stat.S_ISDIR(mode))"
    )

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            return await probe(lease, source)

    assert not any(asyncio.run(scenario()))


def test_a_dataset_cannot_be_changed_by_a_worker(pooling, probe, table):
    fd = table(pl.DataFrame({"g": ["a"], "v": [1]}))
    attempts = [
        "os.pwrite(child.files[-1], b'x', 0)",
        "os.ftruncate(child.files[-1], 0)",
        "mmap.mmap(child.files[-1], 16, prot=mmap.PROT_WRITE)",
        "os.open(f'/proc/self/fd/{child.files[-1]}', os.O_RDWR)",
    ]

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            await lease.bind({"d": fd})
            return [await probe(lease, _source(a)) for a in attempts]

    before = os.pread(fd, 1 << 16, 0)
    assert "succeeded" not in asyncio.run(scenario())
    assert os.pread(fd, 1 << 16, 0) == before


def test_the_engine_cannot_spill(pooling, probe):
    """Even where the engine is told that it may, there is no file it could open."""
    source = """
import os, polars as pl
before = os.environ["POLARS_OOC_DISK_BUDGET_MB"]
os.environ.update(POLARS_OOC_DISK_BUDGET_MB="1000", POLARS_OOC_SPILL_POLICY="spill", POLARS_OOC_DIR="/var/tmp")
import tempfile
try:
    tempfile.TemporaryFile(dir="/var/tmp"); made = True
except OSError:
    made = False
try:
    pl.DataFrame({"a": [1]}).lazy().sink_parquet("/var/tmp/spilled.parquet"); wrote = True
except Exception:
    wrote = False
result = [before, made, wrote, pl.DataFrame({"a": range(100000)}).lazy().sort("a", descending=True).collect(engine="streaming").height]
"""

    async def scenario():
        async with pooling() as pool, await pool.acquire() as lease:
            return await probe(lease, source)

    assert asyncio.run(scenario()) == ["0", False, False, 100000]
    assert not os.path.exists("/var/tmp/spilled.parquet")
