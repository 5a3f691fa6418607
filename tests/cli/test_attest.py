"""`bastion attest`, `bastion serve --attest` and `bastion upload --sealed`, as programs against a server they started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bastion_cli.main import main
from cli_shell import BASTION, Shell
from click.testing import CliRunner

SUPPORT = str(Path(__file__).resolve().parents[1] / "support")
if SUPPORT not in sys.path:
    sys.path.insert(0, SUPPORT)

from tee_hcl import frame  # noqa: E402
from tee_intel import Intel  # noqa: E402
from tee_snp import MEASUREMENT, MILAN  # noqa: E402

pytestmark = pytest.mark.timeout(300)
TRIAL = "unattested = true\n"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    place = Shell(tmp_path_factory.mktemp("attest"))
    place.run("keys", "create", "olga", "--role", "owner")
    (place.folder / "trial.toml").write_text(TRIAL)
    (place.folder / "table.csv").write_text("id,pay\n" + "".join(f"{i},{i * 10}\n" for i in range(50)))
    process = subprocess.Popen(
        [BASTION, "serve", "--endpoint", "tcp://127.0.0.1:*", "--attest", "simulated"], env=place.environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (place.folder / "server" / "address.json").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        yield place
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[0]
        assert "UNATTESTED: a simulation" in said


def test_show_without_and_with_a_policy(shell: Shell) -> None:
    plain = shell.run("attest", "show", "--as", "olga")
    assert "UNATTESTED: it shows evidence, and you have no attestation policy" in plain
    trial = shell.run("attest", "show", "--as", "olga", "--policy", str(shell.folder / "trial.toml"))
    assert "UNATTESTED: it shows a simulation" in trial and "platform" in trial
    found = shell.json("attest", "show", "--as", "olga", "--policy", str(shell.folder / "trial.toml"))
    assert isinstance(found, dict)
    assert (found["status"], found["light"]) == ("unattested", "amber") and len(found["evidence"]) == 64


def test_a_policy_that_is_not_met_says_which_check_failed(shell: Shell) -> None:
    strict = shell.folder / "strict.toml"
    strict.write_text(f'[sev-snp]\nmeasurements = ["{"ab" * 48}"]\n')
    said = shell.run("attest", "show", "--as", "olga", "--policy", str(strict), code=1)
    assert "tee.policy.simulated" in said and "proves nothing" in said


def test_evidence_is_saved_and_verified_offline(shell: Shell) -> None:
    file = shell.folder / "evidence.bin"
    shell.run("attest", "show", "--as", "olga", "--save", str(file))
    said = shell.run("attest", "verify", str(file), "--policy", str(shell.folder / "trial.toml"), code=1)
    assert "UNATTESTED" in said
    assert "input.file.exists" in shell.run("attest", "show", "--as", "olga", "--save", str(file), code=1)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (MILAN.report(), "tee.snp.certificates"), (frame(), "tee.snp.certificates"), (frame(kind=4), "tee.snp.hcl"),
        (Intel().quote(), "tee.dcap.collateral"), (b"\x91\x02", "tee.evidence.format"),
    ],
    ids=["a report", "Azure's frame", "Azure's frame of TDX", "a quote", "something else"],
)  # fmt: skip
def test_a_bare_file_is_known_by_how_it_begins(tmp_path: Path, data: bytes, code: str) -> None:
    (tmp_path / "file.bin").write_bytes(data)
    done = CliRunner().invoke(main, ["attest", "verify", str(tmp_path / "file.bin")])
    assert done.exit_code == 1 and f"[{code}]" in done.output


def test_a_bare_report_is_verified_offline_with_its_certificates(shell: Shell) -> None:
    """Signed by the tests' AMD, which the product does not trust: no option changes that."""
    report = shell.folder / "report.bin"
    report.write_bytes(MILAN.report(b"d" * 64, MEASUREMENT))
    words = [
        "attest",
        "verify",
        str(report),
        "--platform",
        "sev-snp",
        "--report-data",
        "64" * 64,
        "--now",
        "2026-01-01",
    ]
    for number, der in enumerate(MILAN.certificates):
        (shell.folder / f"{number}.der").write_bytes(der)
        words += ["--certificates", str(shell.folder / f"{number}.der")]
    assert "tee.snp.root" in shell.run(*words, code=1)
    assert json.loads(shell.run(*words, "--json", code=1))["codes"] == ["tee.snp.root"]
    assert "input.date" in shell.run(*words, "--now", "yesterday", code=1)
    assert "input.attestation.report-data" in shell.run(*words, "--report-data", "12", code=1)


def test_a_policy_to_begin_with_and_one_that_is_pinned(shell: Shell) -> None:
    assert "#[sev-snp]" in shell.run("attest", "policy")
    assert "unattested = true" in shell.run("attest", "policy", "--from-server", "--as", "olga")
    out = shell.folder / "new.toml"
    shell.run("attest", "policy", "--out", str(out))
    wrong = shell.folder / "wrong.toml"
    wrong.write_text("[sev-snp]\nmeasurements = ['12']\n")
    assert "policy.attestation" in shell.run("attest", "policy", "--pin", str(wrong), code=1)
    shell.run("attest", "policy", "--pin", str(out))
    try:
        assert "tee.policy.simulated" in shell.run("datasets", "--as", "olga", code=1)
    finally:
        (shell.folder / "profile.toml").unlink()
    shell.run("datasets", "--as", "olga")


def test_a_sealed_table_from_the_command_line(shell: Shell) -> None:
    trial = str(shell.folder / "trial.toml")
    words = ("upload", str(shell.folder / "table.csv"), "--unit", "id", "--sealed", "--as", "olga")
    assert "tee.release.unattested" in shell.run(*words, code=1)
    done = shell.program(*words, BASTION_ATTESTATION=trial)
    assert done.returncode == 0 and "Keep a copy" in done.stdout, done.stderr
    assert list((shell.folder / "keys" / "sealed").glob("*.datakey"))
    assert os.stat(next((shell.folder / "keys" / "sealed").glob("*.datakey"))).st_mode & 0o777 == 0o600
    assert "locked" in shell.run("attest", "take-back", "table", "--as", "olga")
    said = shell.run("attest", "release", "table", "--as", "olga", "--policy", trial)
    assert "is open on this server" in said and "UNATTESTED" in said


def test_collateral_of_a_simulation_is_nothing_and_a_vendor_that_is_not_there_is_said(shell: Shell) -> None:
    assert "certificates: none" in shell.run("attest", "collateral", "--as", "olga")
    file = shell.folder / "amd.bin"
    file.write_bytes(MILAN.evidence(b"d" * 64).encode())
    said = shell.program("attest", "collateral", "--file", str(file), https_proxy="http://127.0.0.1:9")
    assert said.returncode == 1 and "tee.collateral." in said.stderr and "Traceback" not in said.stderr
    file.write_bytes(b"nothing")
    assert "tee.evidence.format" in shell.run("attest", "collateral", "--file", str(file), code=1)


def test_a_machine_without_hardware_says_what_is_missing(tmp_path: Path) -> None:
    place = Shell(tmp_path)
    done = place.program("serve", "--attest", "auto")
    assert done.returncode == 1 and "server.evidence.none" in done.stderr and "Traceback" not in done.stderr
