"""The attacks on training as data: where each is played, what holds it, and what it gives where that is away."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
WIRE = "tests/attacks/wire/test_wire_training.py"
EXACT = "exactly that, in a fit without noise that an owner approved"


@dataclass(frozen=True)
class TrainingAttack:
    """One attack: a test that plays it.

    rule: what holds it. off: what it gives without that, which the same test sees; empty where nothing can be switched off. what: in a
    sentence, where the test itself does not say.
    """

    test: str
    rule: str
    off: str = ""
    file: str = WIRE
    words: str = ""

    @property
    def what(self) -> str:
        """What it does."""
        return self.words or _said(self.file).get(self.test, "")


TRAINING = (
    TrainingAttack("test_one_step_on_one_person_gives_noise", "noise by each person's bound", f"the secret: {EXACT}"),
    TrainingAttack(
        "test_an_embedding_of_every_row_holds_noise",
        "noise by each person's bound; identifiers are no inputs",
        f"every row's secret: {EXACT}",
    ),
    TrainingAttack("test_a_loss_of_one_row_is_noised", "losses are a coordinate of the noisy vector", f"the secret: {EXACT}"),
    TrainingAttack(
        "test_a_number_that_is_none_tells_nothing",
        "a gradient that is no number adds nothing",
        "whether the target is there: an approved fit without noise diverges",
    ),
    TrainingAttack(
        "test_a_metric_is_the_same_however_often_it_is_asked", "an answer that was paid for is given again; others are paid"
    ),
    TrainingAttack(
        "test_batches_are_not_mixed",
        "each row is run by itself",
        "a batch that is mixed, in a fit without noise that an owner approved",
    ),
    TrainingAttack(
        "test_values_that_cancel_do_not_make_a_gradient_look_small",
        "norms have upper bounds in double precision",
        "a gradient of norm 1.7 that single precision takes for one of norm 0",
        "tests/training/test_clipping.py",
        "Gives values so large that a person's gradient cancels in its norm and not in the sum.",
    ),
    TrainingAttack(
        "test_a_gradient_that_cancels_is_bounded_all_the_same",
        "norms have upper bounds in double precision",
        f"the secret: {EXACT}",
    ),
    TrainingAttack(
        "test_guesses_of_who_was_trained_on_stay_below_epsilon",
        "the mechanism as a whole",
        "more than the claimed epsilon: an approved fit without noise",
    ),
    TrainingAttack("test_tiny_fits_cost_what_they_cost", "steps are rounded up and added up at one order"),
    TrainingAttack("test_a_description_out_of_bounds_is_refused", "the checks of a description, on the server"),
    TrainingAttack("test_a_fit_goes_on_as_it_began", "a fit is resumed by its id, with its own model, rows and noise"),
    TrainingAttack(
        "test_planted_pickles_are_never_opened",
        "weights are plain numbers, plans and graphs typed messages",
        "a file that is written, where the bytes are unpickled",
    ),
    TrainingAttack("test_an_operation_is_one_of_the_table", "a table made at import", "a model that is taken, with the table's own spelling"),
    TrainingAttack("test_graphs_have_no_loops_and_an_end", "backward references, caps"),
    TrainingAttack(
        "test_memory_is_counted_before_any_is_taken",
        "a run without numbers that counts bytes",
        "a trained model, of the same operations with a hundred numbers (a test of its own)",
    ),
    TrainingAttack("test_uploads_are_as_announced_and_have_their_room", "sizes told by the graph, digests, quotas"),
    TrainingAttack(
        "test_a_fit_with_noise_keeps_its_epsilon_and_one_without_is_caught",
        "the mechanism as a whole",
        "more than the claimed epsilon, with the noise taken out",
        "tests/training/test_audit.py",
        "Guesses of 800 planted people whether they were trained on (Steinke, Nasr, Jagielski 2023).",
    ),
)  # fmt: skip


@cache
def _said(file: str) -> dict[str, str]:
    """Return what the tests of a file say of themselves, by name."""
    tree = ast.parse((ROOT / file).read_text())
    found = {n.name: ast.get_docstring(n) or "" for n in tree.body if isinstance(n, ast.FunctionDef)}
    return {name: " ".join(text.split()) for name, text in found.items()}


def names_of_tests(file: str) -> set[str]:
    """Return the names of a file's tests."""
    return {name for name in _said(file) if name.startswith("test_")}
