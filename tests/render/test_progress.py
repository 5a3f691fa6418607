"""The line of progress: stage, share, rate and what is left, from the messages alone."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from bastion_plan.models.fits import FitSpec, Optimizer
from bastion_wire.messages import Progress, RunInfo

from bastion.client.terminal import TerminalLine
from bastion.client.training.runs import progress_of
from bastion.render.progress import ProgressText, size, with_hint
from bastion.render.runs import runs_html, runs_text


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_remaining_time_follow_from_what_was_heard():
    clock = Clock()
    text = ProgressText(clock)
    clock.now += 0.2
    assert text.line() == "working · 0.2 s"
    text.heard(Progress("queued"))
    assert text.line().startswith("waiting for its turn")
    text.heard(Progress("receiving", 0, 40_000_000))
    clock.now += 2
    text.heard(Progress("receiving", 10_000_000, 40_000_000))
    assert text.rate == 5_000_000
    assert text.line() == "receiving 25% · 10.0 MB of 40.0 MB · 5.0 MB/s · 6.0 s left · 2.2 s"
    clock.now += 70
    assert text.line().endswith("1 min 12 s")
    assert "left" in text.line()
    text.heard(Progress("receiving", 40_000_000, 40_000_000))
    assert "left" not in text.line()
    assert "100%" in text.line()


def test_a_new_stage_has_a_rate_of_its_own():
    clock = Clock()
    text = ProgressText(clock)
    text.heard(Progress("sending", 1000, 1000))
    clock.now += 5
    text.heard(Progress("running"))
    assert text.rate == 0
    assert text.share is None
    assert text.line("waiting for the owner's decision") == "waiting for the owner's decision · 5.0 s"


def test_sizes_read_well():
    assert [size(n) for n in (0, 999, 1500, 123_456, 3_200_000, 5e9, 2e12)] == [
        "0 B", "999 B", "1.5 kB", "123 kB", "3.2 MB", "5.0 GB", "2000 GB"
    ]  # fmt: skip


def test_a_narrow_terminal_still_says_how_to_stop_it():
    line = "receiving 25% · 10.0 MB of 40.0 MB · 5.0 MB/s · 6.0 s left · 2.2 s"
    assert with_hint(line, 120) == f"{line} · Ctrl-C stops it"
    cut = with_hint(line, 79)
    assert len(cut) == 79
    assert cut.startswith("receiving 25% · 10.0 MB of 40.0 MB · 5.0 MB/s · 6.0 s left")
    assert cut.endswith("… · Ctrl-C stops it")


def fit(**changed: Any) -> RunInfo:
    spec = FitSpec((("a",),), ("y",), "l2", 1_200, Optimizer("adam", 0.1), epsilon=4.0, expected=50.0, epoch=100)
    known: dict[str, Any] = {
        "state": "running", "spec": spec, "step": 240, "steps": 1_200, "rate": 12.5, "epsilon": 4.0, "spent": 1.5,
        "delta": 1e-6, "losses": (0.9, 0.5),
    }  # fmt: skip
    fixed = {"requester": "alice", "datasets": ("credit",), "model": "m", "plan_hash": "p", "created": 0.0}
    return RunInfo(id="run1", **fixed, **(known | changed))


def fit_line(**changed: Any) -> str:
    clock = Clock()
    text = ProgressText(clock)
    clock.now += 3
    text.heard(progress_of(fit(**changed)))
    return text.line()


def test_a_fit_says_its_epoch_its_step_and_what_is_left():
    assert fit_line() == (
        "training 20% · epoch 3 of 12 · step 240 of 1,200 · 12.5 steps/s · 77 s left · epsilon 1.5 of 4 spent · loss 0.5 · 3.0 s"
    )
    assert " · 8 min left · " in fit_line(rate=2.0)
    early = fit_line(step=0, rate=0.0, losses=())
    assert early.startswith("training 0% · epoch 1 of 12 · step 0 of 1,200 · epsilon")
    assert "left" not in early and "steps/s" not in early and "loss" not in early
    assert fit_line(state="queued").startswith("waiting to begin training · ")


def test_a_fit_has_a_line_in_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((200, 24)))
    monkeypatch.setattr(sys, "stderr", Terminal())
    line = TerminalLine()
    line.write(fit_line())
    line.clear()
    shown = sys.stderr.getvalue()
    assert "step 240 of 1,200 · 12.5 steps/s · 77 s left" in shown and "Ctrl-C stops it" in shown
    assert shown.endswith(" \r")


def test_fits_are_listed_with_their_cost():
    done = fit(state="done", step=1_200, spent=3.9, tight=3.5)
    approved = fit(spec=FitSpec((("a",),), ("y",), "l2", 9, private=False), approved=True)
    for listed in (runs_text([fit(), done, approved]), runs_html([fit(), done, approved])):
        assert "cost" in listed
        assert "epsilon 1.5 of 4, delta 1e-06" in listed
        assert "epsilon 3.9 of 4, delta 1e-06; tightly counted 3.5" in listed
        assert "without noise, approved by the owner" in listed
        assert "adam, lr 0.1" in listed
