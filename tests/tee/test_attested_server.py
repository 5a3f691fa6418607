"""From the platform to the answer: a real server on a tree like the kernel's, whose reports the tests' AMD signs.

A table is sealed, released, queried; and refused once the measurement is another.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
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

from bastion import Connection, Denied, Identity
from bastion.client import attestation as client
from bastion.client.attestation import Pinned
from bastion.client.news import ANEW, LOCKED, REFUSED

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
    bootstrap: str = "tcp://127.0.0.1:*"

    def up(self, endpoint: str = "tcp://127.0.0.1:*", folder: Path | None = None) -> None:
        self.server = start(
            folder or self.folder, endpoint, owners=[self.olga], users=[self.alice], attest="tsm", tsm_root=self.tree.path,
            bootstrap=self.bootstrap,
        )  # fmt: skip
        assert self.server.bootstrap is not None
        self.bootstrap = self.server.bootstrap

    def again(self, measurement: bytes, *, same_port: bool = True, folder: Path | None = None) -> None:
        """Start the server anew, as the software of a measurement. folder: another than its own, for one that keeps nothing."""
        self.server.stop()
        self.tree.kernel.sign = signing(measurement)
        self.up(self.server.endpoint if same_port else "tcp://127.0.0.1:*", folder)

    def follow(self, who: Identity, *measurements: bytes) -> Connection:
        """Connect by the bootstrap port, as one does that knows a policy alone."""
        return Connection(self.bootstrap, identity=who, attestation=policy(*measurements))

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


@pytest.fixture(scope="module")
def plain(place: Place) -> str:
    """A table that is not sealed; rows of it are an owner's to allow."""
    with place.follow(place.olga, TRUSTED) as owner:
        owner.client.polars.send_df(pl.DataFrame({"id": range(60), "pay": range(60)}), name="plain", unit="id")
    return "plain"


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


def waiting(denied: Denied) -> tuple[threading.Thread, list[Any]]:
    """Wait for a decision in a thread; return the thread and what comes of it."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(denied.wait(120))
        except BastionError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: bool(denied._connection._waiting))
    return thread, found


def test_a_connection_follows_a_server_that_was_started_anew(
    place: Place, plain: str, caplog: pytest.LogCaptureFixture
) -> None:
    people = pl.DataFrame({"id": range(60), "pay": [float(i) for i in range(60)]})
    with place.follow(place.olga, TRUSTED) as owner, place.follow(place.alice, TRUSTED) as user:
        owner.client.polars.send_df(people, Policy(Aggregation(10), Review(), unit="id"), name="kept", sealed=True)
        mean = user.client.polars.get_df("kept").select(pl.col("pay").mean())
        assert mean.collect().fetch().item() == 29.5
        with pytest.raises(Denied) as caught:
            user.client.polars.get_df(plain).head(7).collect().fetch()
        request = caught.value.request("to look at them")
        thread, found = waiting(caught.value)
        states: list[str] = []
        user.on_state(states.append)
        before = (user.server_key, user.attestation.config["boot"])

        place.again(TRUSTED)
        until(lambda: user.state == owner.state == "back" and user.restarts == owner.restarts == 1)
        assert states == ["lost", "back"]
        assert user.attestation.attested and user.server_key == place.server.server_key != before[0]
        assert user.attestation.config["boot"] != before[1]
        # a program is told in its log, in one line; whoever listens for states says it itself
        said = [record.message for record in caplog.records if record.name == "bastion.connection"]
        assert said == [f"{ANEW} {LOCKED}"]

        with pytest.raises(BastionError) as locked:
            mean.collect().fetch()
        assert locked.value.code == "server.locked" and "release_key" in locked.value.next_step
        owner.release_key("kept")  # signed for the server that is there now
        assert mean.collect().fetch().item() == 29.5
        owner.approve(request)
        thread.join(60)
        assert found[0].height == 7, "what was waited for goes on"

        place.again(TRUSTED, same_port=False)
        assert code_of(lambda: mean.collect().fetch()) in ("server.locked", "wire.lost")
        until(lambda: user.restarts == 2 and user.state == "back")
        assert user.endpoint == place.server.endpoint
        assert client.was_attested(place.server.endpoint)


def test_a_server_that_is_another_after_its_restart_is_refused(
    place: Place, plain: str, caplog: pytest.LogCaptureFixture
) -> None:
    with place.follow(place.alice, TRUSTED) as user:
        with pytest.raises(Denied) as caught:
            user.client.polars.get_df(plain).head(8).collect().fetch()
        caught.value.request("to look at them")
        thread, found = waiting(caught.value)
        key = user.server_key
        place.again(OTHER)
        until(lambda: user.state == "refused")
        thread.join(60)
        assert found[0].code == "tee.policy.measurement", "nobody waits for a server that is refused"
        assert (user.attestation.light, user.server_key) == ("red", key)
        assert code_of(user.ping) == "tee.policy.measurement"
        said = [record.message for record in caplog.records if record.name == "bastion.connection"]
        assert len(said) == 1 and said[0].startswith(f"{REFUSED} (tee.policy.measurement).")
        # what the policy allows is back: the next request goes on
        place.again(TRUSTED)
        assert user.ping() > 0
        assert (user.state, user.attestation.light) == ("back", "green")


def test_what_a_server_without_a_disk_has_forgotten_is_waited_for_by_nobody(
    place: Place, plain: str, tmp_path: Path
) -> None:
    """A measured image keeps all in memory: its next start knows the same people, and nothing of what was."""
    with place.follow(place.alice, TRUSTED) as user:
        with pytest.raises(Denied) as caught:
            user.client.polars.get_df(plain).head(9).collect().fetch()
        caught.value.request("to look at them")
        thread, found = waiting(caught.value)
        place.again(TRUSTED, folder=tmp_path / "server")
        try:
            thread.join(60)
            assert found[0].code == "missing.request"
            assert user.attestation.attested and user.datasets() == []
        finally:
            place.again(TRUSTED)


def test_without_the_bootstrap_port_a_key_stays_pinned(place: Place) -> None:
    """Who was told a key of one start by other means gets no other one from anywhere."""
    with place.connect(place.alice, policy(TRUSTED)) as user:
        place.again(TRUSTED)
        until(lambda: user.state == "lost")
        with pytest.raises(BastionError) as caught:
            user.ping()
        assert caught.value.code == "wire.server-key" and "bootstrap" in caught.value.next_step
        # nor does who comes anew with that key, as a profile has it: what to do is said there, too
        with pytest.raises(BastionError) as caught:
            Connection(user.endpoint, identity=place.alice, server_key=user.server_key, attestation=policy(TRUSTED))
        assert caught.value.code == "wire.server-key" and "bootstrap" in caught.value.next_step


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
