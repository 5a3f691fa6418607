"""Answers of many chunks: whole, in order, and stopped when the reader goes away."""

from __future__ import annotations

import polars as pl
from polars.testing import assert_frame_equal

from bastion.policy import Policy


def test_a_large_answer_arrives_whole_with_progress(world):
    n = 400_000
    frame = pl.DataFrame({"a": pl.int_range(n, eager=True), "b": [f"row {i}" for i in range(n)]})
    world.owner.client.polars.send_df(frame, name="large", policy=Policy.open(), unit="row")
    stages = []
    remote = world.user.client.polars.get_df("large")
    released = world.user._run(
        world.user._run_plan(remote.plan, on_progress=lambda p: stages.append((p.stage, p.done, p.total)))
    )
    assert_frame_equal(released.frame, frame)
    received = [(done, total) for stage, done, total in stages if stage == "receiving"]
    assert received[-1][0] == received[-1][1] > 2 << 20
    assert received == sorted(received)
