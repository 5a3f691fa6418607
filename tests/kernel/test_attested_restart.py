"""An attested server that is started anew, as the kernel, the magics and the owner's panel feel it: found again, checked, said in one line."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import tomli_w
from bastion_server import start
from bastion_server.process import Handle
from bastion_tee import AttestationPolicy
from bastion_tee.policy import PlatformPolicy
from bastion_widgets.owner.panel import OwnerPanel
from kernel_client import Client, close_kernel, open_kernel
from tee_snp import MILAN, SNP_ROOTS, snp_table
from tee_tsm import TsmTree, tsm_tree

from bastion import Connection, Identity
from bastion.client.attestation import Pinned
from bastion.client.news import ANEW, LOCKED, LOST, REFUSED
from bastion.policy import Aggregation, Policy, Review
from bastion_magics.magics import BastionCellError, BastionMagics

TRUSTED, OTHER = hashlib.sha384(b"trusted").digest(), hashlib.sha384(b"other").digest()
POLICY = AttestationPolicy(sev_snp=PlatformPolicy(measurements=(TRUSTED.hex(),)))
#: a kernel whose AMD is the tests'; nothing but a program can say so
KERNEL = """
import sys
sys.path.insert(0, {support!r})
import bastion_tee.verify
from tee_snp import SNP_ROOTS
bastion_tee.verify.PINNED = SNP_ROOTS
from bastion_kernel.app import main
main(sys.argv[1:])
"""
MEAN = 'dataset("kept").select(pl.col("pay").mean())'


def signing(measurement: bytes) -> Any:
    return lambda report_data, privlevel: (MILAN.report(report_data, measurement), snp_table())


@dataclass
class Place:
    folder: Path
    tree: TsmTree
    olga: Identity
    alice: Identity
    bootstrap: str = "tcp://127.0.0.1:*"
    endpoint: str = "tcp://127.0.0.1:*"
    server: Handle = field(init=False)

    def up(self, measurement: bytes) -> None:
        self.tree.kernel.sign = signing(measurement)
        self.server = start(
            self.folder / "server", self.endpoint, owners=[self.olga], users=[self.alice], attest="tsm", tsm_root=self.tree.path,
            bootstrap=self.bootstrap,
        )  # fmt: skip
        assert self.server.bootstrap is not None
        self.endpoint, self.bootstrap = self.server.endpoint, self.server.bootstrap


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, jupyter: Path) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("restarted")
    olga, alice = (Identity.create(name, folder / "keys") for name in ("olga", "alice"))
    profile, policy = folder / "profile.toml", folder / "attestation.toml"
    with pytest.MonkeyPatch.context() as patch, tsm_tree("sev_guest", signing(TRUSTED)) as tree:
        patch.setenv("BASTION_SEALED", str(folder / "sealed"))
        patch.setenv("BASTION_ATTESTED", str(folder / "attested"))
        patch.setenv("BASTION_PROFILE", str(profile))
        patch.setattr("bastion_tee.verify.PINNED", SNP_ROOTS)
        found = Place(folder, tree, olga, alice)
        found.up(TRUSTED)
        policy.write_text(POLICY.to_toml())
        told = {"endpoint": found.bootstrap, "identity": str(folder / "keys" / "alice.key"), "attestation": str(policy)}
        profile.write_text(tomli_w.dumps(told))
        yield found
        found.server.stop()


@pytest.fixture(scope="module")
def owner(place: Place) -> Iterator[Connection]:
    with Connection(place.bootstrap, identity=place.olga, attestation=Pinned(POLICY, roots=SNP_ROOTS)) as connection:
        people = pl.DataFrame({"id": range(60), "pay": [float(i) for i in range(60)]})
        guarded = Policy(Aggregation(10), Review(), unit="id")
        connection.client.polars.send_df(people, guarded, name="kept", sealed=True)
        yield connection


@pytest.fixture(scope="module")
def kernel(jupyter: Path, place: Place, owner: Connection) -> Iterator[Client]:
    script = place.folder / "kernel.py"
    script.write_text(KERNEL.format(support=str(Path(__file__).parents[1] / "support")))
    spec = next((jupyter / "share" / "jupyter" / "kernels" / "bastionlab").glob("kernel.json"))
    before = spec.read_text()
    changed = json.loads(before) | {
        "argv": [sys.executable, "-Xfrozen_modules=off", str(script), "-f", "{connection_file}"]
    }
    spec.write_text(json.dumps(changed))
    try:
        client = open_kernel()
    finally:
        spec.write_text(before)
    assert client.run("connect()").status == "ok"
    yield client
    close_kernel(client)


@pytest.fixture(scope="module")
def magics(place: Place, owner: Connection) -> Iterator[BastionMagics]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bastion_magics.magics.publish_display_data", lambda data, **_: print(data["text/plain"]))
        found = BastionMagics(SimpleNamespace(user_ns={}))
        found.bastion("connect")
        yield found
        found.session.close()


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def said(kernel: Client, line: str) -> str:
    """Run cells that need no server until the kernel has heard of the server; return what it wrote to standard error."""
    heard = ""
    end = time.monotonic() + 60
    while line not in heard:
        assert time.monotonic() < end, heard
        heard += kernel.run("1 + 1").stream("stderr")
        time.sleep(0.2)
    return heard


def test_it_is_found_again_and_said_in_one_line(place, owner, kernel, magics, capsys):
    assert kernel.run(MEAN).status == "ok"
    assert "●" in kernel.run("attestation()").result["text/plain"]
    panel = OwnerPanel(owner)
    assert (panel.session["light"], panel.session["state"]) == ("green", "back")
    connection = magics.session.environment.connection
    place.server.stop()
    place.up(TRUSTED)
    until(lambda: owner.restarts == connection.restarts == 1 and owner.state == connection.state == "back")
    assert said(kernel, ANEW) in (f"{ANEW} {LOCKED}\n", f"{LOST}\n{ANEW} {LOCKED}\n")
    assert kernel.run("1 + 1").stream("stderr") == ""
    capsys.readouterr()
    magics.bastion("", "1 + 1")
    assert capsys.readouterr() == ("2\n", f"{ANEW} {LOCKED}\n")
    magics.bastion("", "1 + 1")
    assert capsys.readouterr() == ("2\n", "")
    assert (panel.session["light"], panel.session["state"], panel.session["says"]) == ("green", "back", "connected")

    reply = kernel.run(MEAN)
    assert reply.status == "error"
    assert "server.locked" in reply.error and "release_key" in reply.error
    assert "●" in kernel.run("attestation()").result["text/plain"]
    owner.release_key("kept")
    assert "29.5" in kernel.run(MEAN).result["text/plain"]
    magics.bastion("", MEAN)
    assert "29.5" in capsys.readouterr().out
    panel.close()


def test_one_that_is_another_then_is_refused(place, owner, kernel, magics, capsys):
    panel = OwnerPanel(owner)
    connection = magics.session.environment.connection
    place.server.stop()
    place.up(OTHER)
    until(lambda: owner.state == connection.state == "refused")
    heard = said(kernel, REFUSED)
    assert "(tee.policy.measurement)" in heard and heard.removeprefix(f"{LOST}\n").count("\n") == 1
    reply = kernel.run(MEAN)
    assert reply.status == "error" and "tee.policy.measurement" in reply.error
    assert reply.stream("stderr") == "", "the error says it"
    assert "○" in kernel.run("attestation()").result["text/plain"]
    capsys.readouterr()
    magics.bastion("", "1 + 1")
    assert capsys.readouterr().err.startswith(f"{REFUSED} (tee.policy.measurement)")
    with pytest.raises(BastionCellError) as caught:
        magics.bastion("", MEAN)
    assert caught.value.code == "tee.policy.measurement"
    until(lambda: panel.session["state"] == "refused")
    assert panel.session["light"] == "red" and "nothing is sent" in panel.session["says"]
    panel.close()

    # what the policy allows is back: the next cell goes on, after it has looked
    place.server.stop()
    place.up(TRUSTED)
    reply = kernel.run('dataset("kept").columns')
    assert reply.status == "ok", reply.error
    assert ANEW in reply.stream("stderr")
