"""From the platform to the answer: a real server on a tree like the kernel's, whose reports the tests' AMD signs.

A table is sealed, released, queried; and refused once the measurement is another.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bastion_plan.errors import AttestationError, BastionError
from bastion_policy.model import Aggregation, Policy, Review
from bastion_server import start
from bastion_server.process import Handle
from bastion_tee import AttestationPolicy, Evidence
from bastion_tee.collateral import Answer, Cache
from bastion_tee.policy import PlatformPolicy
from bastion_tee.vendors import collateral_of

from bastion import Connection, Identity
from bastion.client import attestation as client
from bastion.client.attestation import Pinned

SUPPORT = str(Path(__file__).resolve().parents[1] / "support")
if SUPPORT not in sys.path:
    sys.path.insert(0, SUPPORT)

from tee_snp import MILAN, SNP_ROOTS, pem, snp_table  # noqa: E402
from tee_tsm import TsmTree, tsm_tree  # noqa: E402

pytestmark = pytest.mark.timeout(300)
TRUSTED, OTHER = hashlib.sha384(b"trusted").digest(), hashlib.sha384(b"other").digest()


def signing(measurement: bytes) -> Any:
    return lambda report_data, privlevel: (MILAN.report(report_data, measurement), snp_table())


def policy(*measurements: bytes, **more: Any) -> Pinned:
    section = PlatformPolicy(measurements=tuple(m.hex() for m in measurements), **more)
    return Pinned(AttestationPolicy(sev_snp=section), roots=SNP_ROOTS)


@dataclass
class Place:
    folder: Path
    tree: TsmTree
    olga: Identity
    alice: Identity
    server: Handle = field(init=False)

    def up(self) -> None:
        self.server = start(
            self.folder, owners=[self.olga], users=[self.alice], attest="tsm", tsm_root=self.tree.path,
            bootstrap="tcp://127.0.0.1:*",
        )  # fmt: skip

    def connect(self, who: Identity, pinned: Pinned) -> Connection:
        return Connection(self.server.endpoint, identity=who, server_key=self.server.server_key, attestation=pinned)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("attested")
    with pytest.MonkeyPatch.context() as patch, tsm_tree("sev_guest", signing(TRUSTED)) as tree:
        patch.setenv("BASTION_SEALED", str(folder / "keys"))
        patch.setenv("BASTION_ATTESTED", str(folder / "attested"))
        found = Place(folder / "server", tree, Identity.create("olga"), Identity.create("alice"))
        found.up()
        yield found
        found.server.stop()


def code_of(work: Any) -> str:
    with pytest.raises(BastionError) as caught:
        work()
    return caught.value.code


def test_sealed_released_queried_and_refused_once_the_measurement_is_another(place: Place) -> None:
    people = pl.DataFrame({"id": range(100), "town": ["a", "b"] * 50, "pay": [float(i) for i in range(100)]})
    guarded = Policy(Aggregation(10), Review(), unit="id")
    trusted = policy(TRUSTED)
    with place.connect(place.olga, trusted) as owner, place.connect(place.alice, trusted) as user:
        assert (owner.attestation.light, owner.attestation.attested) == ("green", True)
        claims = owner.attestation.verdict.claims if owner.attestation.verdict is not None else None
        assert claims is not None and (claims.platform, claims.product, claims.measurement) == (
            "sev-snp",
            "Milan",
            TRUSTED.hex(),
        )
        owner.client.polars.send_df(people, guarded, name="staff", sealed=True)
        frame = user.client.polars.get_df("staff").group_by("town").agg(pl.col("pay").mean()).sort("town")
        before = frame.collect().fetch()
        assert before["pay"].to_list() == [49.0, 50.0]
        assert user.last is not None and user.last.about is not None and user.last.about.attested

        # the same disk under other software: nobody is talked into going on
        place.tree.kernel.sign = signing(OTHER)
        with pytest.raises(AttestationError) as caught:
            owner.attest()
        assert caught.value.code == "tee.policy.measurement" and OTHER.hex() in caught.value.reason
        assert code_of(lambda: owner.release_key("staff")) == "tee.policy.measurement"
        place.server.stop()
        place.up()
    for who in (place.olga, place.alice):
        assert code_of(lambda who=who: place.connect(who, trusted)) == "tee.policy.measurement"
    # whoever allows both gets in, and finds the table locked
    with place.connect(place.alice, policy(TRUSTED, OTHER)) as user:
        again = user.client.polars.get_df("staff").group_by("town").agg(pl.col("pay").mean()).sort("town")
        assert code_of(lambda: again.collect().fetch()) == "server.locked"

    # the right software is back: a new release opens it
    place.tree.kernel.sign = signing(TRUSTED)
    place.server.stop()
    place.up()
    with place.connect(place.olga, trusted) as owner, place.connect(place.alice, trusted) as user:
        frame = user.client.polars.get_df("staff").group_by("town").agg(pl.col("pay").mean()).sort("town")
        assert code_of(lambda: frame.collect().fetch()) == "server.locked"
        owner.release_key("staff")
        assert frame.collect().fetch().equals(before)
        assert place.tree.kernel.reports == []  # nothing is left in the kernel's tree


def test_an_attested_server_that_shows_nothing_later_is_refused(place: Place) -> None:
    place.tree.kernel.sign = signing(TRUSTED)
    with place.connect(place.alice, policy(TRUSTED)) as user:
        assert user.attestation.attested
    assert client.was_attested(place.server.endpoint)
    assert code_of(lambda: place.connect(place.alice, Pinned())) == "tee.channel.unpinned"
    place.server.stop()
    plain = start(place.folder, place.server.endpoint, users=[place.alice])
    try:
        for pinned in (Pinned(), policy(TRUSTED)):
            with pytest.raises(AttestationError) as caught:
                Connection(plain.endpoint, identity=place.alice, server_key=plain.server_key, attestation=pinned)
            assert caught.value.code == "tee.channel.downgrade"
    finally:
        plain.stop()
        place.up()


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"minimum_tcb": {"snp": 255}}, "tee.policy.tcb"),
        ({"products": ("Genoa",)}, "tee.snp.product"),
        ({"registers": {"host_data": ("11" * 32,)}}, "tee.policy.measurement"),
        ({"revocation": "required"}, "tee.policy.revocation-missing"),
    ],
    ids=["tcb", "product", "register", "revocation"],
)
def test_each_wish_of_a_policy_is_asked_of_a_live_server(place: Place, asked: dict[str, Any], code: str) -> None:
    assert code_of(lambda: place.connect(place.alice, policy(TRUSTED, **asked))) == code


def test_a_policy_is_enough_to_find_the_servers_key(place: Place) -> None:
    """The bootstrap socket tells a key that nobody confirmed: evidence about it does. Without a policy it is not asked."""
    assert place.server.bootstrap is not None
    with Connection(place.server.bootstrap, identity=place.alice, attestation=policy(TRUSTED)) as user:
        assert user.attestation.attested and user.server_key == place.server.server_key
    assert code_of(lambda: Connection(place.server.bootstrap, identity=place.alice)) == "wire.server-unknown"
    assert (
        code_of(lambda: Connection(place.server.bootstrap, identity=place.alice, attestation=policy(OTHER)))
        == "tee.policy.measurement"
    )


def test_what_a_vendor_publishes_is_used_once_it_was_fetched(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that gives a bare report; what was kept of AMD's certificates and revocation list makes it whole."""
    monkeypatch.setenv("BASTION_COLLATERAL", str(tmp_path / "collateral"))
    leaf, authority, root = MILAN.certificates

    def amd(url: str) -> Answer:
        return Answer(pem(authority, root) if url.endswith("chain") else MILAN.crl(7) if url.endswith("crl") else leaf)

    place.tree.kernel.sign = lambda report_data, privlevel: (MILAN.report(report_data, TRUSTED), b"")
    required = policy(TRUSTED, revocation="required")
    try:
        assert code_of(lambda: place.connect(place.alice, required)) == "tee.snp.certificates"
        with place.connect(place.alice, Pinned(look=True)) as user:
            evidence = Evidence.decode(user.attestation.evidence)
        collateral_of(Cache(tmp_path / "collateral", amd), evidence, time.time())
        with place.connect(place.alice, required) as user:
            assert user.attestation.attested
    finally:
        place.tree.kernel.sign = signing(TRUSTED)


def test_a_platform_that_gives_nothing_lets_nobody_in(place: Place) -> None:
    def refuse(report_data: bytes, privlevel: int) -> Any:
        raise OSError(5, "no")

    place.tree.kernel.sign = refuse
    try:
        assert code_of(lambda: place.connect(place.alice, policy(TRUSTED))).startswith("server.evidence.")
    finally:
        place.tree.kernel.sign = signing(TRUSTED)
    with place.connect(place.alice, policy(TRUSTED)) as user:
        assert user.attestation.attested
