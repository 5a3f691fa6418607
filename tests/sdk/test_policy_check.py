"""Policies as they are written: the live check, samples of what they would deny, and lines made of decisions."""

from __future__ import annotations

import pytest
from bastion_plan.dtypes import DType
from bastion_policy.facts import ColumnFacts, DatasetFacts
from bastion_policy.roles import Role, RoleKind
from bastion_wire.messages import RequestInfo

from bastion.client.policy_check import check_policy, differing
from bastion.client.policy_lines import suggest
from bastion.policy import Policy

KINDS = {
    "id": ("Int64", "identifier"), "name": ("String", "hidden"), "sex": ("String", "quasi"), "town": ("String", "public"),
    "age": ("Float64", "measure"), "ill": ("Boolean", "sensitive"),
}  # fmt: skip


def table(policy: Policy | None = None) -> DatasetFacts:
    columns = tuple(ColumnFacts(n, DType(d), Role(RoleKind(r))) for n, (d, r) in KINDS.items())
    policy = policy or Policy.default()
    return DatasetFacts(id="d-1", name="staff", version=1, columns=columns, policy=policy, owner="olga")


def outcomes(text: str, facts: DatasetFacts | None = None) -> dict[str, str]:
    check = check_policy(text, facts or table())
    assert check.error is None, check.error
    return {s.what: s.outcome for s in check.samples}


def test_samples_say_what_a_policy_releases_reviews_and_refuses():
    found = outcomes('unsafe = "review"\n[safe_zone]\naggregation = 10\n')
    assert found["counts by sex"] == "release"
    assert found["the mean age by sex"] == "release"
    assert found["the first five rows"] == "review"
    assert found["how many values name has, which is hidden"] != "release"
    assert len(found) >= 10
    refused = outcomes('unsafe = "reject"\n[safe_zone]\naggregation = 10\n')
    assert refused["the first five rows"] == "refuse"
    opened = outcomes('unsafe = "log"\nsafe_zone = true\n')
    assert opened["the first five rows"] == "release"


def test_samples_of_a_noisy_policy_say_so():
    text = 'unsafe = "reject"\nreview_zone = false\nsavable = false\n[safe_zone]\ndifferential_privacy = { epsilon = 1.0 }\n'
    facts = table()
    found = outcomes(text, facts)
    assert found["how many rows there are"] == "private"
    assert found["the first five rows"] == "refuse"


def test_what_a_fit_may_take_is_said_as_it_is_written():
    text = 'unsafe = "review"\n[safe_zone]\naggregation = 10\n[training]\nmax_steps = '
    assert "A model takes at most 500 steps." in check_policy(text + "500\n", table()).words
    error = check_policy(text + "0\n", table()).error
    assert error is not None and (error.code, error.details["line"]) == ("policy.training", 5)


def test_differences_between_two_policies_are_named():
    one = check_policy('unsafe = "review"\n[safe_zone]\naggregation = 10\n', table()).samples
    two = check_policy('unsafe = "reject"\n[safe_zone]\naggregation = 10\n', table()).samples
    assert "the first five rows: review -> refuse" in differing(one, two)
    assert differing(one, one) == []


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('unsafe = "review"\nunsave = true\n[safe_zone]\naggregation = 10\n', 2, "unsave"),
        ('unsafe = "review"\n[safe_zone]\naggregation = 0\n', 3, "at least 1"),
        ('unsafe = "review"\n[safe_zone]\naggregation = 10\n[roles]\nagee = "quasi"\n', 5, "agee"),
        ('unsafe = "review"\nunit = "town"\n[safe_zone]\naggregation = 10\n', 2, "unit"),
        ('unsafe = "review\n', 1, ""),
    ],
)
def test_an_error_has_its_line_and_says_what(text, line, says):
    check = check_policy(text, table())
    assert check.error is not None
    assert check.error.details["line"] == line, check.error
    assert says in f"{check.error.message} {check.error.next_step}"


def info(*findings: str, **uses: tuple[str, ...]) -> RequestInfo:
    labels = {f"staff.{name}": use for name, use in uses.items()}
    return RequestInfo(
        "r-1", "pending", "alice", "why", "h", ("staff",), 1.0, findings=findings,
        roles={label: KINDS[label.partition(".")[2]][1] for label in labels}, uses=labels,
    )  # fmt: skip


def test_a_denial_and_an_approval_become_lines_that_can_be():
    lines = suggest(info("row-level: x", age=("single rows",)), table())
    words = [line.words for line in lines]
    assert any("Refuse at once" in w for w in words)
    assert any("Hide age" in w for w in words)
    for line in lines:
        assert check_policy(line.text, table()).error is None
        assert line.line
        assert all(part[:2] in ("+ ", "- ") for part in line.line.split("\n"))
    wide = next(line for line in lines if "whatever alice asks" in line.words)
    assert 'user_id = "alice"' in wide.line
    assert "single rows" in wide.warning
    hide = next(line for line in lines if "Hide age" in line.words)
    changed = check_policy(hide.text, table()).facts
    assert changed is not None
    assert "age" in changed.hidden


def test_a_strict_tables_measure_may_be_made_a_key():
    roles = {name: role for name, (_, role) in KINDS.items()}
    facts = table(Policy.strict(unit="id")).with_policy(
        Policy.default().__class__(
            safe_zone=Policy.default().safe_zone, unsafe_handling=Policy.strict("id").unsafe_handling, profile="strict",
            unit="id", roles=roles,
        )
    )  # fmt: skip
    lines = suggest(info("strict-role: 'age' is a measure", age=("group key",)), facts)
    assert any("Let age choose people" in line.words for line in lines)


def test_the_unit_is_never_offered_to_be_hidden():
    facts = table(Policy.default()).with_policy(Policy.default())
    import msgspec

    facts = msgspec.structs.replace(facts, unit="id")
    lines = suggest(info("row-level: x", id=("single rows",), sex=("single rows",)), facts)
    assert not any("Hide id" in line.words for line in lines)
