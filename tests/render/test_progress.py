"""The line of progress: stage, share, rate and what is left, from the messages alone."""

from __future__ import annotations

from bastion_wire.messages import Progress

from bastion.render.progress import ProgressText, size, with_hint


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
