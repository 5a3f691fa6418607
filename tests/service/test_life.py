"""Restarts, crashes, revocation, saved frames, the audit log."""

from __future__ import annotations

import time

import polars as pl
import pytest
from bastion_server import start
from bastion_server.channel import KeyDirectory

from bastion import BastionError, Connection, Denied, Identity
from bastion.policy import Aggregation, Policy, Review


def test_everything_survives_kill_9(tmp_path, titanic):
    olga, alice = Identity.create("olga"), Identity.create("alice")
    with start(tmp_path / "s", owners=[olga], users=[alice]) as server:
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            owner.client.polars.send_df(titanic, name="titanic", sanitized_columns=["Name"], unit="row")
        with Connection(server.endpoint, identity=alice, server_key=server.server_key) as user:
            frame = user.client.polars.get_df("titanic")
            frame.group_by("Sex").agg(pl.col("Survived").mean()).save("by sex")
            with pytest.raises(Denied) as caught:
                frame.head(5).fetch()
            request = caught.value.request("before the crash")
        server.kill()
    with start(tmp_path / "s") as server:
        with Connection(server.endpoint, identity=olga, server_key=server.server_key) as owner:
            owner.approve(request.id, "after the crash")
            assert owner.verify_audit().ok
        with Connection(server.endpoint, identity=alice, server_key=server.server_key) as user:
            assert user.request(request.id).fetch().height == 5
            assert user.client.polars.get_df("by sex").fetch().height == 2


def test_a_second_server_on_one_directory_is_refused(tmp_path):
    with start(tmp_path / "s"), pytest.raises(BastionError) as caught:
        start(tmp_path / "s")
    assert "server.store.locked" in str(caught.value)


def test_revocation_cuts_a_live_session(world):
    eve = Identity.create("eve")
    keys = KeyDirectory(world.server.directory / "keys")
    keys.add(eve.public, "user")
    connection = world.connect(eve)
    assert connection.cards()
    keys.revoke("eve")
    deadline = time.monotonic() + 30

    def cut_off() -> str:
        """The server looks at its keys four times a second."""
        while time.monotonic() < deadline:
            try:
                connection.cards()
            except BastionError as error:
                return error.code
            time.sleep(0.1)
        return "not cut off"

    assert cut_off().startswith("wire.")
    connection.close()
    with pytest.raises(BastionError) as caught:
        world.connect(eve)
    assert caught.value.code.startswith("wire.auth")


def test_an_unknown_key_is_told_so(world):
    begin = time.monotonic()
    with pytest.raises(BastionError) as caught:
        world.connect(Identity.create("mallory"))
    assert caught.value.code.startswith("wire.auth")
    assert time.monotonic() - begin < 10, "told, not left to wait"


def test_saved_frames_are_judged_when_fetched(world):
    titanic = world.user.client.polars.get_df("titanic")
    saved = titanic.filter(pl.col("Age") > 30).save("over thirty")
    with pytest.raises(Denied):
        saved.fetch()
    assert saved.select(pl.len()).fetch().item() == titanic.filter(pl.col("Age") > 30).select(pl.len()).fetch().item()
    with pytest.raises(BastionError):
        world.other.client.polars.get_df("over thirty")
    saved.delete()
    with pytest.raises(BastionError):
        world.user.client.polars.get_df("over thirty")


def test_not_savable(world):
    policy = Policy(Aggregation(10), Review(), savable=False)
    world.owner.client.polars.send_df(pl.DataFrame({"a": range(50)}), name="unsavable", policy=policy, unit="row")
    with pytest.raises(BastionError) as caught:
        world.user.client.polars.get_df("unsavable").select(pl.len()).save("x")
    assert caught.value.code == "policy.not-savable"


def test_every_answer_is_in_the_log_with_intent_first(world):
    frame = world.user.client.polars.get_df("titanic").group_by("Embarked").agg(pl.col("Fare").mean())
    frame.fetch()
    records = [r for r in world.owner.audit("titanic", 200) if r.plan_hash == frame.plan_hash]
    assert [r.kind_of for r in records[-2:]] == ["intent", "outcome"]
    assert records[-1].who == "alice"
    assert world.owner.verify_audit().ok
    with pytest.raises(BastionError) as caught:
        world.user.audit()
    assert caught.value.code == "wire.auth.role"


def test_an_open_policy_is_red_in_the_log(world):
    world.owner.client.polars.send_df(pl.DataFrame({"a": range(5)}), name="wide open", policy=Policy.open(), unit="row")
    assert world.user.client.polars.get_df("wide open").fetch().height == 5
    uploads = [r for r in world.owner.audit("wide open", 50) if r.kind_of == "upload"]
    assert uploads[-1].red


def test_a_weakened_policy_is_red_in_the_log(world):
    """At the upload and at a change; what is not weakened is not red."""
    frame, sound = pl.DataFrame({"a": range(50)}), Policy(Aggregation(10), Review())
    weak = Policy(Aggregation(10), Review(), weaken=("dominance",))

    def red(name, kind):
        return [r.red for r in world.owner.audit(name, 50) if r.kind_of == kind]

    for name, policy in (("sent weak", weak), ("sent sound", sound)):
        world.owner.client.polars.send_df(frame, name=name, policy=policy, unit="row")
        assert red(name, "upload") == [policy is weak]
    for policy in (weak, sound, Policy.open()):
        world.owner.set_policy("sent sound", policy)
    assert red("sent sound", "policy") == [True, False, True]


def test_deleting_needs_the_owner(world):
    world.owner.client.polars.send_df(pl.DataFrame({"a": range(50)}), name="short-lived", unit="row")
    with pytest.raises(BastionError) as caught:
        world.user.client.polars.delete_df("short-lived")
    assert caught.value.code == "wire.auth.owner"
    world.owner.client.polars.delete_df("short-lived")
    with pytest.raises(BastionError):
        world.owner.client.polars.get_df("short-lived")


def test_a_taken_name_does_not_tell_of_others_datasets(world):
    hidden = world.owner.client.polars.send_df(pl.DataFrame({"a": range(50)}), name="top secret", unit="row")
    world.owner.set_policy("top secret", allow=[])
    mine = world.user.client.polars.get_df("titanic").select(pl.len()).save("top secret")
    assert mine.dataset_id != hidden.dataset_id
    assert world.user.client.polars.get_df("top secret").dataset_id == mine.dataset_id
    assert world.owner.client.polars.get_df("top secret").dataset_id == hidden.dataset_id
    with pytest.raises(BastionError):
        world.other.client.polars.get_df("top secret")
