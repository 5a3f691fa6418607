"""What tee/deploy holds: read line by line; and, where the tools are there, the image made twice and measured."""

from __future__ import annotations

import configparser
import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
import zipfile
from pathlib import Path

import pytest
from bastion_server.__main__ import main

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "tee" / "deploy"
IMAGE = DEPLOY / "image"
MEASURE = Path(sys.executable).with_name("sev-snp-measure")
MIRROR = "http://deb.debian.org"


def requirements(text: str) -> dict[str, str]:
    """Lines of requirements, names in one way of writing."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {re.split(r"[<>=]", line)[0].lower().replace("_", "-"): line for line in lines}


def server_understands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The server's own parser takes the options: with --help behind them it ends well, and not at one it does not know."""
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert caught.value.code == 0
    usage = capsys.readouterr().out
    assert all(word in usage for word in words if word.startswith("--"))


# ---- ordinary servers -------------------------------------------------------------------------------------------------


def test_systemd_unit(capsys: pytest.CaptureFixture[str]):
    unit = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "bastionlab.service")
    assert unit.sections() == ["Unit", "Service", "Install"]
    program, module, name, *words = unit["Service"]["ExecStart"].split()
    assert (program, module, name) == ("/opt/bastionlab/bin/python", "-m", "bastion_server")
    server_understands(words, capsys)
    assert words[1] == "/var/lib/" + unit["Service"]["StateDirectory"]
    hardening = ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictNamespaces", "DynamicUser")
    assert all(unit["Service"][name] == "yes" for name in hardening)
    assert unit["Service"]["CapabilityBoundingSet"] == "" and unit["Service"]["LimitCORE"] == "0"


def test_systemd_itself_reads_the_unit(tmp_path: Path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is no part of this machine (its own reading of the unit; ours is tested above)")
    text = (DEPLOY / "bastionlab.service").read_text().replace("/opt/bastionlab/bin/python", sys.executable)
    (tmp_path / "bastionlab.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "bastionlab.service"], capture_output=True, text=True, timeout=60
    )
    assert "bastionlab.service" not in done.stderr, done.stderr


def test_containerfile(capsys: pytest.CaptureFixture[str]):
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    kinds = [kind for kind, _ in lines]
    known = {"FROM", "RUN", "COPY", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert kinds[0] == "FROM" and set(kinds) <= known
    stages = {rest.split(" AS ")[1] for kind, rest in lines if kind == "FROM" and " AS " in rest}
    assert all(rest.split()[0].removeprefix("--from=") in stages for kind, rest in lines if rest.startswith("--from="))
    said = dict(lines)
    assert said["USER"] != "root" and kinds.index("USER") < kinds.index("ENTRYPOINT")
    program, module, name, *words = [*json.loads(said["ENTRYPOINT"]), *json.loads(said["CMD"])]
    assert (module, name) == ("-m", "bastion_server") and program.startswith("/opt/bastionlab/")
    server_understands(words, capsys)
    assert said["VOLUME"] == words[1] and words[3].endswith(":" + said["EXPOSE"])
    for kind, rest in lines:
        if kind == "RUN":
            assert subprocess.run(["bash", "-n", "-c", rest], timeout=30).returncode == 0
    assert "[server]" in text and re.search(r"^server =$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)


# ---- what the image is made from --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["build.sh", "firmware.sh", "lock.sh", "measure.sh", "pins", "init", "start", "dhcp"])
def test_scripts_can_be_read(name: str):
    first = (IMAGE / name).read_text().splitlines()[0]
    shell = "bash" if "bash" in first else "sh"
    assert subprocess.run([shell, "-n", IMAGE / name], timeout=30).returncode == 0


def test_the_guest_starts_the_server(capsys: pytest.CaptureFixture[str]):
    line = next(line for line in (IMAGE / "start").read_text().splitlines() if "-m bastion_server" in line)
    words = line.split()[3:]
    server_understands(words, capsys)
    assert "--attest" in words and "attest=auto" in (IMAGE / "start").read_text().splitlines()


def test_what_is_locked_is_what_is_asked_for():
    asked = requirements((IMAGE / "requirements.in").read_text())
    locked = requirements((IMAGE / "requirements.lock").read_text())
    assert set(asked) <= set(locked)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    known = requirements(setup["options"]["install_requires"]) | requirements(setup["options.extras_require"]["server"])
    assert asked.items() <= known.items()  # the same bounds as everywhere
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in locked.values())


def test_every_room_of_the_server_is_in_the_image():
    rooms = re.findall(r"\w+/(bastion_\w+)", (IMAGE / "build.sh").read_text())
    assert sorted(set(rooms)) == ["bastion_plan", "bastion_policy", "bastion_server", "bastion_tee", "bastion_wire"]


def unpack(lock: str, wheels: Path, target: Path) -> subprocess.CompletedProcess[str]:
    (wheels / "lock").write_text(lock)
    command = [sys.executable, IMAGE / "unpack.py", wheels / "lock", wheels, target]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def wheel(folder: Path, **files: str) -> str:
    path = folder / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return f"thing==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_wheels_are_unpacked_by_their_hash(tmp_path: Path):
    target = tmp_path / "target"
    data = {
        "thing-1.data__purelib__more.py": "",
        "thing-1.data__scripts__run": "",
        "thing__a.py": "x",
        "thing__b.so": "y",
    }
    line = wheel(tmp_path, **data)
    done = unpack("# a comment\n\n" + line, tmp_path, target)
    assert done.returncode == 0, done.stderr
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert found == ["more.py", "thing/a.py", "thing/b.so"]
    assert (target / "thing/b.so").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("files", "lock", "said"),
    [
        ({"thing": "x"}, "thing==1 --hash=sha256:" + "0" * 64, "has no wheel of thing 1"),
        ({"thing": "x"}, "thing", "is no line"),
        ({"..__thing": "x"}, "", "leaves the folder"),
        ({"__thing": "x"}, "", "leaves the folder"),
    ],
)
def test_other_wheels_are_refused(tmp_path: Path, files: dict[str, str], lock: str, said: str):
    line = wheel(tmp_path, **files)
    done = unpack(lock or line, tmp_path, tmp_path / "target")
    assert done.returncode == 1 and said in done.stderr


# ---- the measurement --------------------------------------------------------------------------------------------------


def firmware(path: Path, *, hashes: bool) -> Path:
    """A file with the tables of OvmfPkg/AmdSev at its end, and nothing to run: what a measurement is worked out from."""
    sections = [(0x800000, 0x9000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x80F000, 0x1000, 0x10)][
        : 4 if hashes else 3
    ]
    meta = b"ASEV" + struct.pack("<III", 16 + 12 * len(sections), 1, len(sections))
    meta += b"".join(struct.pack("<III", *section) for section in sections)
    table = b""
    for guid, value in (
        ("dc886566-984a-4798-a75e-5585a7bf67cc", struct.pack("<I", 4096)),
        ("00f771de-1a7e-4fcb-890e-68c77e2fb44e", struct.pack("<I", 0x80B004)),
        ("7255371f-3a3b-4b04-927b-1da6efa8d454", struct.pack("<II", 0x80FC00 if hashes else 0, 0x400)),
    ):
        table += value + struct.pack("<H", len(value) + 18) + uuid.UUID(guid).bytes_le
    table += struct.pack("<H", len(table) + 18) + uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
    end = table + bytes(32)
    path.write_bytes((bytes(4096) + meta).ljust(8192 - len(end), b"\0") + end)
    return path


def image(folder: Path, **parts: str) -> Path:
    """A folder like that of build.sh, of small files."""
    folder.mkdir()
    for name, text in ({"vmlinuz": "k" * 4096, "initrd": "i", "cmdline": "c", "root.img": "r"} | parts).items():
        (folder / name).write_text(text)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    return folder


def measure(folder: Path, ovmf: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert MEASURE.exists(), "sev-snp-measure comes with the tests' extra: pip install -e '.[test]'"
    environment = {"PATH": f"{MEASURE.parent}:/usr/bin:/bin", "LC_ALL": "C"}
    command = [IMAGE / "measure.sh", folder, ovmf, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def test_every_measured_part_counts(tmp_path: Path):
    ovmf = firmware(tmp_path / "OVMF.fd", hashes=True)
    one = measure(image(tmp_path / "one"), ovmf)
    assert re.fullmatch("[0-9a-f]{96}\n", one.stdout), one.stderr
    assert measure(image(tmp_path / "same"), ovmf).stdout == one.stdout
    others = {
        measure(image(tmp_path / "kernel", vmlinuz="K" * 4096), ovmf).stdout,
        measure(image(tmp_path / "initrd", initrd="I"), ovmf).stdout,
        measure(image(tmp_path / "cmdline", cmdline="C"), ovmf).stdout,
        measure(tmp_path / "one", ovmf, "--vcpus", "2").stdout,
        measure(tmp_path / "one", ovmf, "--vcpu-type", "EPYC-Genoa").stdout,
    }
    assert len(others | {one.stdout}) == 6
    # the disk counts through the root hash that build.sh writes into cmdline
    assert measure(image(tmp_path / "disk", **{"root.img": "R"}), ovmf).stdout == one.stdout


def test_firmware_that_checks_nothing_is_refused(tmp_path: Path):
    done = measure(image(tmp_path / "one"), firmware(tmp_path / "OVMF.fd", hashes=False))
    assert done.returncode != 0 and "SNP_KERNEL_HASHES" in done.stderr


def test_a_changed_image_is_not_measured(tmp_path: Path):
    folder = image(tmp_path / "one")
    (folder / "root.img").write_text("changed")
    done = measure(folder, firmware(tmp_path / "OVMF.fd", hashes=True))
    assert done.returncode != 0 and "root.img" in done.stderr + done.stdout


# ---- the image itself -------------------------------------------------------------------------------------------------


def missing() -> str | None:
    """Why the image cannot be made here, or None."""
    names = ("mmdebstrap", "mksquashfs", "veritysetup", "cpio", "zstd", "depmod", "readelf", "xz", "git")
    found = [name for name in names if not shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin")]
    if found:
        return f"there is no {', '.join(found)} here (apt install: see the top of build.sh)"
    try:
        urllib.request.urlopen(f"{MIRROR}/debian/dists/trixie/InRelease", timeout=30).close()
    except (urllib.error.URLError, TimeoutError) as error:
        return f"Debian's packages cannot be reached: {error}"
    return None


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_images_are_one(tmp_path: Path):
    """Built twice, in two directories: the same bytes, the same measurement; another owner: another."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    mirrors = ["--mirror", f"{MIRROR}/debian", "--security", f"{MIRROR}/debian-security"]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=60
    ).stdout.strip()
    (tmp_path / "keys" / "owners").mkdir(parents=True)
    (tmp_path / "keys" / "owners" / "olga.pub").write_text("who owns data there\n")

    def build(out: Path, *options: str) -> str:
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [IMAGE / "build.sh", out, *mirrors, "--commit", commit, *options]
        done = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stderr[-2000:]
        return (out / "SHA256SUMS").read_text()

    sums = build(tmp_path / "here" / "out0")
    assert build(tmp_path / "somewhere" / "else" / "out1") == sums
    build(tmp_path / "owned", "--keys", str(tmp_path / "keys"))
    ovmf = firmware(tmp_path / "OVMF.fd", hashes=True)
    one = measure(tmp_path / "here" / "out0", ovmf)
    two = measure(tmp_path / "somewhere" / "else" / "out1", ovmf)
    owned = measure(tmp_path / "owned", ovmf)
    assert owned.returncode == 0 and owned.stdout != one.stdout
    assert one.stdout == two.stdout and re.fullmatch("[0-9a-f]{96}\n", one.stdout), one.stderr
    text = (tmp_path / "here" / "out0" / "cmdline").read_text()
    assert re.search(r"bastion\.root=[0-9a-f]{64} bastion\.tree=\d+$", text)
    check_disk(tmp_path / "here" / "out0" / "root.img", text, tmp_path)


def check_disk(disk: Path, cmdline: str, folder: Path) -> None:
    """dm-verity's own tool finds the disk whole, and a single changed bit of it."""
    root, tree = re.search(r"bastion\.root=(\w+) bastion\.tree=(\d+)", cmdline).groups()  # type: ignore[union-attr]
    command = ["veritysetup", "verify", f"--hash-offset={tree}", disk, disk, root]
    environment = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    assert subprocess.run(command, capture_output=True, timeout=300, env=environment).returncode == 0
    with disk.open("r+b") as file:
        file.seek(int(tree) // 2)
        byte = file.read(1)[0]
        file.seek(int(tree) // 2)
        file.write(bytes([byte ^ 1]))
    assert subprocess.run(command, capture_output=True, timeout=300, env=environment).returncode != 0
