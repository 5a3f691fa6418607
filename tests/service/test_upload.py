"""Uploads: bad ones leave nothing behind, and the next request works."""

from __future__ import annotations

import polars as pl
import pytest
from bastion_wire import messages as m

from bastion import BastionError
from bastion.policy import Aggregation, Policy, Reject, Review


def names(connection) -> set[str]:
    return {card.facts.name for card in connection.cards()}


def test_users_cannot_upload(world):
    with pytest.raises(BastionError) as caught:
        world.user.client.polars.send_df(pl.DataFrame({"a": [1]}), name="mine")
    assert caught.value.code == "wire.auth.role"
    assert "mine" not in names(world.owner)


@pytest.mark.parametrize("name", ["", " x", "a\nb", "x" * 300])
def test_bad_names(world, name):
    body = m.UploadBegin(name, 10, b"\0" * 32)
    with pytest.raises(BastionError) as caught:
        world.owner._run(world.owner._ask(body))
    assert caught.value.code == "input.dataset.name"


def test_a_policy_that_cannot_be_enforced_is_refused(world):
    policy = Policy.private(epsilon=1.0, delta=0)
    with pytest.raises(BastionError) as caught:
        world.owner.client.polars.send_df(pl.DataFrame({"a": [1, 2]}), name="noisy", policy=policy)
    assert caught.value.code == "policy.unsupported"
    assert "noisy" not in names(world.owner)


def test_a_policy_about_a_column_that_is_not_there(world):
    policy = Policy(Aggregation(10), Review(), roles={"agee": "quasi"})
    with pytest.raises(BastionError, match="age") as caught:
        world.owner.client.polars.send_df(pl.DataFrame({"age": [1, 2]}), name="typo", policy=policy)
    assert caught.value.code == "policy.column"
    assert "typo" not in names(world.owner)


def test_zero_rows_all_null_and_odd_names(world):
    frame = pl.DataFrame(
        {'a"b': [], "line\nbreak": [], "ünï": []}, schema={'a"b': pl.Int64, "line\nbreak": pl.String, "ünï": pl.Float64}
    )
    sent = world.owner.client.polars.send_df(frame, name="empty", unit="row")
    assert sent.columns == frame.columns
    world.owner.client.polars.send_df(pl.DataFrame({"x": [None] * 50}), name="nulls", unit="row")
    user = world.user.client.polars.get_df("nulls")
    assert user.columns == ["x"]


def test_not_a_table(world):
    data = b"this is not Arrow" * 100
    import hashlib

    terms = {
        "name": "junk",
        "size": len(data),
        "sha256": hashlib.sha256(data).digest(),
        "policy": "",
        "hidden": (),
        "unit": None,
        "replace": False,
    }
    signed = world.owner._sign({"action": "upload", **terms, "hidden": []})
    begin = m.UploadBegin(**terms, signed=signed)
    with pytest.raises(BastionError) as caught:
        world.owner._run(world.owner._open_session.upload(begin, memoryview(data)))
    assert caught.value.code == "input.upload.format"
    assert "junk" not in names(world.owner)


def test_what_was_signed_is_what_is_uploaded(world):
    data = b"x" * 10
    import hashlib

    digest = hashlib.sha256(data).digest()
    signed = world.owner._sign(
        {
            "action": "upload",
            "name": "other",
            "size": 10,
            "sha256": digest,
            "policy": "",
            "hidden": [],
            "unit": None,
            "replace": False,
        }
    )
    with pytest.raises(BastionError) as caught:
        world.owner._run(world.owner._ask(m.UploadBegin("forged", 10, digest, signed=signed)))
    assert caught.value.code == "wire.auth.statement"


def test_replace_makes_a_new_version(world):
    one = world.owner.client.polars.send_df(pl.DataFrame({"a": range(50)}), name="versions", unit="row")
    with pytest.raises(BastionError) as caught:
        world.owner.client.polars.send_df(pl.DataFrame({"a": range(60)}), name="versions", unit="row")
    assert caught.value.code == "input.dataset.name-taken"
    two = world.owner.client.polars.send_df(pl.DataFrame({"a": range(60)}), name="versions", unit="row", replace=True)
    assert two.dataset_id == one.dataset_id
    assert two.dataset.facts.version == 2
    assert world.user.client.polars.get_df("versions").select(pl.len()).fetch().item() == 60


def test_reject_refuses_and_cannot_be_asked_for(world):
    world.owner.client.polars.send_df(
        pl.DataFrame({"a": range(50)}), name="closed", policy=Policy(Aggregation(10), Reject()), unit="row"
    )
    frame = world.user.client.polars.get_df("closed")
    with pytest.raises(BastionError) as caught:
        frame.head(3).fetch()
    denied = caught.value
    assert denied.outcome == "refuse"
    with pytest.raises(BastionError):
        denied.request("please")


def test_access_list(world):
    world.owner.client.polars.send_df(pl.DataFrame({"a": range(50)}), name="granted", unit="row")
    world.owner.set_policy("granted", allow=["bob"])
    assert "granted" not in names(world.user)
    assert "granted" in names(world.other)
    with pytest.raises(BastionError) as one:
        world.user.client.polars.get_df("granted")
    with pytest.raises(BastionError) as two:
        world.user.client.polars.get_df("grantee")
    assert one.value.code == two.value.code == "missing.dataset"
    assert one.value.message.replace("granted", "?") == two.value.message.replace("grantee", "?")
