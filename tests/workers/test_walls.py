"""Code that has taken over a worker: what it tries fails, and the worker still answers queries."""

from __future__ import annotations

import asyncio
import os
import platform
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
    "connect its channel elsewhere": "call(42, 3, 0, 0)",
    "bind its channel": "call(49, 3, 0, 0)",
    "listen on its channel": "call(50, 3, 1)",
    "start a program": "os.execv('/bin/true', ['true'])",
    "start a program by descriptor": "call(322, 3, 0, 0, 0, 0x1000)",
    "fork": "os.fork()",
    "vfork": "call(58)",
    "clone a process": "call(56, signal.SIGCHLD, 0, 0, 0, 0)",
    "clone into a namespace": "call(56, 0x10000 | 0x100 | 0x800 | 0x10000000, 0, 0, 0, 0)",
    "trace": "call(101, 0, 0, 0, 0)",
    "read a process's memory": "call(310, os.getppid(), 0, 0, 0, 0, 0)",
    "write a process's memory": "call(311, os.getppid(), 0, 0, 0, 0, 0)",
    "make a memory file": "os.memfd_create('x')",
    "signal another thread group": "call(234, os.getppid(), os.getppid(), 0)",
    "signal everyone": "os.kill(-1, 0)",
    "queue a signal": "call(129, os.getppid(), 10, 0)",
    "send a signal by pidfd": "call(434, os.getppid(), 0)",
    "raise its limits": "call(160, resource.RLIMIT_AS, ctypes.addressof(ctypes.create_string_buffer(bytes(16))))",
    "raise its limits by prlimit": "resource.prlimit(os.getpid(), resource.RLIMIT_FSIZE, (-1, -1))",
    "become dumpable": "call(157, 4, 1, 0, 0, 0)",
    "outlive its parent": "call(157, 1, 0, 0, 0, 0)",
    "map code": "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "make memory executable": "call(10, ctypes.addressof(ctypes.create_string_buffer(8192)) & ~4095, 4096, 5)",
    "become another user": "os.setuid(0)",
    "unshare": "call(272, 0x10000000)",
    "mount": "call(165, 0, 0, 0, 0, 0)",
    "change root": "os.chroot('/')",
    "load a BPF program": "call(321, 0, 0, 0)",
    "set up io_uring": "call(425, 1, 0)",
    "userfaultfd": "call(323, 0)",
    "keyctl": "call(250, 0, 0, 0, 0, 0)",
    "add a key": "call(248, 0, 0, 0, 0, 0)",
    "perf events": "call(298, 0, 0, -1, -1, 0)",
    "load a kernel": "call(246, 0, 0, 0, 0)",
    "load a module": "call(313, 3, 0, 0)",
    "share memory by name": "call(29, 1, 4096, 0o1600)",
    "make a message queue": "call(68, 1, 0o1600)",
    "watch files": "call(294, 0)",
    "set the clock": "call(227, 0, 0)",
    "get a file owner's signals": "fcntl.fcntl(3, fcntl.F_SETOWN, os.getppid())",
    "push bytes into a terminal": "fcntl.ioctl(0, 0x5412, b'x')",
    "openat2": "call(437, -100, 0, 0, 0)",
    "clone3": "call(435, 0, 0)",
}
STOPPED = {"EPERM", "EACCES", "ENOSYS", "ENOTTY"}


def _source(attempt: str) -> str:
    return PRELUDE + textwrap.indent(attempt, "    ") + EPILOGUE


def _sum(lease, fd):
    async def run():
        await lease.bind({"d": fd})
        answer = await lease.run(GroupBy(Scan("d"), (Column("g"),), (Alias(Call("sum", (Column("v"),)), "s"),)))
        return dict(pl.read_ipc(bytes(answer)).rows())

    return run()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the attempts use system-call numbers of x86-64")
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
