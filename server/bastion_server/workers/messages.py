"""What is said on the two kinds of private socket: server to zygote, and server to one child."""

from __future__ import annotations

import os

import msgspec
from bastion_plan.dtypes import DType

#: bytes of memory of this machine
MACHINE_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Base of all messages."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one worker may use.

    memory: bytes of its own resident memory (bound datasets do not count); the watchdog kills above it.
    address_space: RLIMIT_AS in bytes, the wall behind the watchdog; None: twice `memory`, plus all of the machine's memory
    (for datasets, which are mapped) plus 4 GiB (allocators reserve far more than they use).
    seconds: wall clock of all runs of one query together. answer: bytes of one answer. files: open file descriptors.
    threads: size of the engine's thread pool; 0: one per CPU.
    """

    memory: int = 2 << 30
    address_space: int | None = None
    seconds: float = 60.0
    answer: int = 1 << 30
    files: int = 256
    threads: int = 0

    @property
    def address_wall(self) -> int:
        """RLIMIT_AS in bytes."""
        return self.address_space if self.address_space is not None else 2 * self.memory + MACHINE_MEMORY + (4 << 30)


class SandboxReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which walls stand around a child.

    landlock: ABI version in force, 0 where the kernel has none. seccomp: whether the system-call filter is in force.
    dropped: whether root's identity and capabilities were given up (True too where there were none).
    warnings: one sentence per missing wall, for the operator.
    """

    landlock: int
    seccomp: bool
    dropped: bool
    warnings: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every wall stands."""
        return self.landlock > 0 and self.seccomp and self.dropped


# ---------------------------------------------------------------------------------------------- server -> zygote


class Fork(Message, frozen=True, tag="fork"):
    """Fork a child. Comes with two descriptors: the child's end of its channel, and its stderr."""

    ticket: int


# ---------------------------------------------------------------------------------------------- zygote -> server


class Awake(Message, frozen=True, tag="awake"):
    """The zygote has imported everything and can fork."""


class Forked(Message, frozen=True, tag="forked"):
    """A child exists. Comes with one descriptor: its pidfd."""

    ticket: int
    pid: int


class Exited(Message, frozen=True, tag="exited"):
    """A child was reaped. status: exit code, or minus the signal number."""

    pid: int
    status: int


ToZygote = Fork
FromZygote = Awake | Forked | Exited


# ---------------------------------------------------------------------------------------------- server -> child


class Bind(Message, frozen=True, tag="bind"):
    """Name the datasets whose descriptors come with this message, in order."""

    ids: tuple[str, ...]


class Run(Message, frozen=True, tag="run"):
    """Run a plan. Body: pickled tables. Comes with one descriptor: an empty memfd for a large answer.

    plan: bytes of bastion_plan.canonical.encode. keep: name the result stays under, or None.
    returns: columns that come back; () none, None all. dry: its calls are tried without data, and nothing is run;
    values: of values of their types too.
    """

    plan: bytes
    keep: str | None = None
    returns: tuple[str, ...] | None = None
    dry: bool = False
    values: bool = True


class Register(Message, frozen=True, tag="register"):
    """Measure an uploaded table. Comes with two descriptors: the upload, and an empty memfd for its canonical form."""

    unit: str | None = None


# ---------------------------------------------------------------------------------------------- child -> server


class Ready(Message, frozen=True, tag="ready"):
    """The sandbox stands, the engine is warm."""

    report: SandboxReport


class Done(Message, frozen=True, tag="done"):
    """Success. height: rows of the result. size: bytes written into the memfd, 0 where the answer is the body."""

    height: int = 0
    size: int = 0


class Measures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of an uploaded table, as bastion_policy.facts.ColumnMeasures."""

    nulls: int
    distinct: int
    low: float | None = None
    high: float | None = None
    has_nan: bool = False


class Registered(Message, frozen=True, tag="registered"):
    """An uploaded table was measured. size: bytes of its canonical form in the memfd."""

    size: int
    rows: int
    units: int
    max_rows_per_unit: int
    schema: tuple[tuple[str, DType], ...]
    measures: tuple[Measures, ...]


class Failed(Message, frozen=True, tag="failed"):
    """The child could not do it and lives on. reason: a word of `errors.py`. text: engine's words, for the owner only."""

    reason: str
    text: str = ""


ToChild = Bind | Run | Register
FromChild = Ready | Done | Registered | Failed
