"""configfs-tsm against a tree that behaves like the kernel's, reached by real system calls."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bastion_plan.errors import ServerError
from bastion_tee.evidence import Evidence
from bastion_tee.providers import tsm
from bastion_tee.providers.tsm import TsmProvider
from tee_tsm import TsmTree, tsm_tree

ASKED = bytes(range(64))


def sign(report_data: bytes, privlevel: int) -> tuple[bytes, bytes]:
    return b"report" + report_data + bytes([privlevel]), b"certificates"


@pytest.fixture
def tree() -> Iterator[TsmTree]:
    with tsm_tree("sev_guest", sign) as tree:
        yield tree


class Watch:
    """Fails operations on purpose: `fails[(operation, attribute)]` is a list of errors to raise, one a time; and counts."""

    def __init__(self, tree: TsmTree) -> None:
        self.fails: dict[tuple[str, str], list[int]] = {}
        self.does: dict[tuple[str, str], object] = {}
        self.count: dict[tuple[str, str], int] = {}
        self.tree = tree
        tree.kernel.watch = self

    def __call__(self, operation: str, report: str, attribute: str) -> None:
        key = (operation, attribute)
        self.count[key] = self.count.get(key, 0) + 1
        if self.fails.get(key):
            raise OSError(self.fails[key].pop(0), "")
        if key in self.does:
            self.does[key](report)  # type: ignore[operator]


def provider(tree: TsmTree, **options: object) -> tuple[TsmProvider, list[float]]:
    slept: list[float] = []
    return TsmProvider(tree.path, sleep=slept.append, **options), slept  # type: ignore[arg-type]


def code_of(call: object) -> str:
    with pytest.raises(ServerError) as caught:
        call()  # type: ignore[operator]
    assert caught.value.details == {"provider": "configfs-tsm"} and caught.value.next_step
    return caught.value.code


# ---- what it gives ----------------------------------------------------------------------------------------------------


def test_evidence_of_sev_snp(tree: TsmTree, tmp_path: Path):
    (tmp_path / "boot").write_text("0b0e\n")
    source, slept = provider(tree, boot=tmp_path / "boot")
    assert (source.name, source.platform) == ("configfs-tsm", "sev-snp")
    assert source.evidence(ASKED) == Evidence("sev-snp", b"report" + ASKED + b"\0", (b"certificates",), boot="0b0e")
    assert slept == [] and tree.kernel.reports == []
    assert tree.kernel.made == 2  # one to look which driver there is


def test_evidence_of_tdx_has_no_certificates():
    with tsm_tree("tdx_guest", sign) as tree:
        source, _ = provider(tree)
        assert source.platform == "tdx"
        assert source.evidence(ASKED).certificates == ()


def test_no_certificates_from_the_host(tree: TsmTree):
    tree.kernel.sign = lambda asked, level: (asked, b"")
    assert provider(tree)[0].evidence(ASKED).certificates == ()


def test_a_blob_as_large_as_the_kernel_gives(tree: TsmTree):
    tree.kernel.sign = lambda asked, level: (asked * 512, b"x" * (32 << 10))
    found = provider(tree)[0].evidence(ASKED)
    assert len(found.report) == len(found.certificates[0]) == 32 << 10


def test_another_measurement_from_now_on(tree: TsmTree):
    source, _ = provider(tree)
    one = source.evidence(ASKED)
    tree.kernel.sign = lambda asked, level: (b"other" + asked, b"")
    assert source.evidence(ASKED) != one


@pytest.mark.parametrize(("floor", "asked", "written"), [(0, None, 0), (2, None, 2), (1, 3, 3), (0, 0, 0)])
def test_privilege_level(floor: int, asked: int | None, written: int):
    with tsm_tree("sev_guest", sign, floor=floor) as tree:
        watch = Watch(tree)
        source, _ = provider(tree, privlevel=asked)
        assert source.evidence(ASKED).report[-1] == written
        assert watch.count.get(("write", "privlevel"), 0) == (1 if asked is not None or floor else 0)


def test_a_privilege_level_below_the_floor():
    with tsm_tree("sev_guest", sign, floor=2) as tree:
        source, _ = provider(tree, privlevel=1)
        assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.failed"
        assert tree.kernel.reports == []


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_only_64_bytes(tree: TsmTree, length: int):
    source, _ = provider(tree)
    assert code_of(lambda: source.evidence(bytes(length))) == "server.evidence.asked"


def test_threads_do_not_disturb_each_other(tree: TsmTree):
    source, slept = provider(tree)
    asked = [bytes([i]) * 64 for i in range(24)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(source.evidence, asked))
    assert [one.report[6:70] for one in found] == asked
    assert slept == [] and tree.kernel.reports == []


def test_from_another_process(tree: TsmTree):
    program = "import sys; from pathlib import Path; from bastion_tee.providers.tsm import TsmProvider as P; "
    program += "sys.stdout.buffer.write(P(Path(sys.argv[1])).evidence(bytes(range(64))).report)"
    done = subprocess.run([sys.executable, "-c", program, tree.path], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"report" + ASKED + b"\0"


# ---- other writers ----------------------------------------------------------------------------------------------------


def racing(tree: TsmTree, when: tuple[str, str], times: int) -> Watch:
    """Another program writes at `when`, once to each of the first `times` reports."""
    watch, met = Watch(tree), set[str]()

    def write(report: str) -> None:
        if report not in met and len(met) < times:
            met.add(report)
            tree.kernel.store(report, "inblob", b"!" * 64)

    watch.does[when] = write
    return watch


MOMENTS = [("open", "inblob"), ("open", "outblob"), ("open", "auxblob"), ("read", "auxblob")]


@pytest.mark.parametrize("when", MOMENTS)
def test_a_racing_writer_is_noticed(tree: TsmTree, when: tuple[str, str]):
    source, slept = provider(tree)
    racing(tree, when, 2)
    assert source.evidence(ASKED).report == b"report" + ASKED + b"\0"
    assert len(slept) == 2 and tree.kernel.reports == []


@pytest.mark.parametrize("when", MOMENTS)
def test_a_writer_who_does_not_stop(tree: TsmTree, when: tuple[str, str]):
    source, slept = provider(tree, pauses=(0.1, 0.2))
    racing(tree, when, 100)
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.raced"
    assert slept == [0.1, 0.2] and tree.kernel.reports == []


def test_a_write_that_the_kernel_dropped(tree: TsmTree):
    """close() says nothing of it; only the generation does."""
    source, slept = provider(tree)
    Watch(tree).fails[("store", "inblob")] = [errno.EBUSY]
    assert source.evidence(ASKED).report == b"report" + ASKED + b"\0"
    assert len(slept) == 1


def test_a_report_that_somebody_removes(tree: TsmTree):
    source, slept = provider(tree)
    watch, once = Watch(tree), [True]

    def remove(report: str) -> None:
        if once.pop() if once else False:
            tree.kernel.remove(1, report)

    watch.does[("open", "outblob")] = remove
    assert source.evidence(ASKED).report == b"report" + ASKED + b"\0"
    assert len(slept) == 1


def test_a_report_about_something_else(tree: TsmTree):
    source, _ = provider(tree)
    tree.kernel.sign = lambda asked, level: (b"x" * 64, b"")
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.other"


# ---- a kernel that does not give it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT])
@pytest.mark.parametrize("when", [("mkdir", ""), ("read", "outblob"), ("open", "inblob")])
def test_a_busy_kernel_is_asked_again(tree: TsmTree, when: tuple[str, str], number: int):
    source, slept = provider(tree)
    Watch(tree).fails[when] = [number, number]
    assert source.evidence(ASKED).report == b"report" + ASKED + b"\0"
    # Python itself goes on after EINTR of open, read and write
    assert slept == ([] if number == errno.EINTR and when[0] != "mkdir" else [0.1, 0.2])
    assert tree.kernel.reports == []


def test_a_kernel_that_stays_busy(tree: TsmTree):
    source, slept = provider(tree)
    Watch(tree).fails[("read", "outblob")] = [errno.EBUSY] * 100
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.busy"
    assert len(slept) == 6 and sum(slept) < 7 and tree.kernel.reports == []


@pytest.mark.parametrize(
    ("when", "number", "code"),
    [
        (("read", "outblob"), errno.EIO, "failed"),
        (("read", "outblob"), errno.EFBIG, "failed"),
        (("read", "outblob"), errno.ENOTTY, "failed"),
        (("read", "provider"), errno.ENXIO, "missing"),
        (("open", "inblob"), errno.EACCES, "rights"),
        (("mkdir", ""), errno.EPERM, "rights"),
        (("write", "inblob"), errno.EINVAL, "failed"),
    ],
)
def test_errors_have_their_own_codes(tree: TsmTree, when: tuple[str, str], number: int, code: str):
    source, slept = provider(tree)
    Watch(tree).fails[when] = [number]
    assert code_of(lambda: source.evidence(ASKED)) == f"server.evidence.{code}"
    assert slept == [] and tree.kernel.reports == []


def test_no_driver():
    with tsm_tree(None, sign) as tree:
        assert code_of(lambda: provider(tree)) == "server.evidence.missing"


def test_a_driver_that_is_unloaded(tree: TsmTree):
    source, _ = provider(tree)
    tree.kernel.provider = None
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.missing"


def test_a_platform_that_is_not_known():
    with tsm_tree("arm_cca_guest", sign) as tree:
        assert code_of(lambda: provider(tree)) == "server.evidence.unknown"
        assert tree.kernel.reports == []


def test_no_configfs(tmp_path: Path):
    assert code_of(lambda: TsmProvider(tmp_path / "tsm" / "report")) == "server.evidence.missing"


def test_an_empty_report(tree: TsmTree):
    source, _ = provider(tree)
    tree.kernel.sign = lambda asked, level: (b"", b"")
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.format"


def test_a_directory_of_plain_files_is_not_the_kernels(tmp_path: Path):
    """Nothing fills a directory there, so nothing is read from it."""
    assert code_of(lambda: TsmProvider(tmp_path, pauses=())) == "server.evidence.raced"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [b"many\n", b"-1\n", b"1" * 21])
def test_a_generation_that_is_no_number(tree: TsmTree, text: bytes, monkeypatch: pytest.MonkeyPatch):
    source, _ = provider(tree)
    show = tree.kernel._show
    tree.kernel._show = lambda report, name: text if name == "generation" else show(report, name)  # type: ignore[method-assign]
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.format"


def test_an_attribute_without_end(tree: TsmTree):
    source, _ = provider(tree)
    tree.kernel._show = lambda report, name: b"sev_guest" * 1000  # type: ignore[method-assign]
    assert code_of(lambda: source.evidence(ASKED)) == "server.evidence.format"


def test_a_write_that_is_taken_in_part(tree: TsmTree, monkeypatch: pytest.MonkeyPatch):
    source, _ = provider(tree)
    monkeypatch.setattr(os, "write", lambda descriptor, data: len(data) - 1)
    with pytest.raises(ServerError) as caught:
        source._try(lambda: tsm._write(Path(os.devnull), b"ab"))
    assert caught.value.code == "server.evidence.failed"


# ---- what dead processes left -----------------------------------------------------------------------------------------


def test_reports_of_dead_servers_are_removed(tree: TsmTree):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(60)
    here, hexes = tsm._namespace(), "0" * 16
    dead = f"bastion-{here}-{ended.pid}-12345-{hexes}"
    reused = f"bastion-{here}-{os.getpid()}-1-{hexes}"  # the number is another process's now
    alive = f"{tsm._own()}-{hexes}"
    elsewhere = f"bastion-{here + 1}-{ended.pid}-12345-{hexes}"  # of another container, whose processes we do not see
    others = "systemd-creds"
    for name in (dead, reused, alive, elsewhere, others):
        (tree.path / name).mkdir()
    provider(tree)
    assert tree.kernel.reports == sorted([alive, elsewhere, others])


def test_a_killed_server_leaves_a_report_that_the_next_removes(tree: TsmTree):
    inside = threading.Event()
    Watch(tree).does[("open", "outblob")] = lambda report: inside.set()
    program = "import os, sys, signal; from pathlib import Path; from bastion_tee.providers import tsm; "
    program += "read = tsm._read; "
    program += (
        "tsm._read = lambda path, limit: os.kill(os.getpid(), 9) if path.name == 'outblob' else read(path, limit); "
    )
    program += "tsm.TsmProvider(Path(sys.argv[1])).evidence(bytes(64))"
    done = subprocess.run([sys.executable, "-c", program, tree.path], capture_output=True, timeout=60)
    assert done.returncode == -9 and len(tree.kernel.reports) == 1
    source, _ = provider(tree)
    assert tree.kernel.reports == []
    assert source.evidence(ASKED)


def test_what_cannot_be_removed_stays(tree: TsmTree):
    left = f"bastion-{tsm._namespace()}-{os.getpid()}-1-{'0' * 16}"
    (tree.path / left).mkdir()
    watch = Watch(tree)
    watch.fails[("rmdir", "")] = [errno.EBUSY, errno.EBUSY]
    source, _ = provider(tree)
    assert len(tree.kernel.reports) == 2  # the one left, and our own of the first look
    assert source.evidence(ASKED)


def test_processes_that_are_not_there(monkeypatch: pytest.MonkeyPatch):
    assert tsm._started(0) == 0
    assert tsm._started(os.getpid()) > 0

    def stat(path: str) -> os.stat_result:
        raise FileNotFoundError

    monkeypatch.setattr(os, "stat", stat)
    assert tsm._namespace() == 0


def test_no_boot_id(tree: TsmTree, tmp_path: Path):
    assert provider(tree, boot=tmp_path / "none")[0].evidence(ASKED).boot == ""
    (tmp_path / "odd").write_bytes(b"\xff")
    assert provider(tree, boot=tmp_path / "odd")[0].evidence(ASKED).boot == ""


def test_the_kernels_own_boot_id(tree: TsmTree):
    assert len(provider(tree)[0].evidence(ASKED).boot) == 36
