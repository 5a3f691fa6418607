"""Policies that cannot be kept are refused at upload and at every change, with the line of their text and what to do."""

from __future__ import annotations

import polars as pl
import pytest

from bastion import BastionError
from bastion.policy import Aggregation, AtLeastNOf, Policy, Review, UserId, measure

FRAME = pl.DataFrame(
    {"who": [i // 2 for i in range(60)], "age": [20.0 + i for i in range(60)], "ward": ["a", "b"] * 30,
     "part": [None, *range(59)]}
)  # fmt: skip
HEAD = 'unsafe = "review"\n'
ZONE = HEAD + "\n[safe_zone]\naggregation = 10\n"

#: TOML, its options -> code, line, a word of the reason and of the fix
BAD = {
    "no TOML": ('unsafe = "review\n', {}, "policy.toml", 1, "quotes"),
    "no zone": (HEAD, {}, "policy.toml.missing", 1, "safe_zone"),
    "unknown key": (ZONE + "agregation = 5\n", {}, "policy.toml.key", 5, "aggregation"),
    "k of zero": (HEAD + "[safe_zone]\n# few\naggregation = 0\n", {}, "policy.rule.number", 4, "Write aggregation = 10."),
    "negative k": (HEAD + "safe_zone = { aggregation = -1 }\n", {}, "policy.rule.number", 2, "Write aggregation = 10."),
    "epsilon of zero": (HEAD + "[safe_zone]\ndifferential_privacy = { epsilon = 0 }\n", {}, "policy.rule.number", 3, "above 0"),
    "negative epsilon": (HEAD + "[safe_zone]\ndifferential_privacy = { epsilon = -1 }\n", {}, "policy.rule.number", 3, "above 0"),
    "delta of one": (
        HEAD + "[safe_zone]\ndifferential_privacy = { epsilon = 1, delta = 1 }\n", {}, "policy.rule.number", 3, "below 1"
    ),
    "k of more than there are numbers": (
        HEAD + "[safe_zone]\naggregation = 100000000000000000000\n", {}, "policy.rule.number", 3, "at most 2147483647"
    ),
    "k of true": (HEAD + "[safe_zone]\naggregation = true\n", {}, "policy.toml.type", 3, "aggregation = 10"),
    "p of two": (ZONE + "dominance = { p = 2 }\n", {}, "policy.rule.number", 5, "Write dominance = 0.1."),
    "nobody dominates": (
        ZONE + "dominance = { n = 0, share = 0.5 }\n", {}, "policy.rule.number", 5, "dominance = { n = 2, share = 0.9 }"
    ),
    "share of nothing": (ZONE + "saturation = 0\n", {}, "policy.rule.number", 5, "Write saturation = 0.33."),
    "leverage of two": (ZONE + "linear_audit = { tau = 2 }\n", {}, "policy.rule.number", 5, "linear_audit = { tau = 0.5 }"),
    "no rounding": (ZONE + "rounding = { base = 0 }\n", {}, "policy.rule.number", 5, "rounding = { base = 5 }"),
    "nobody differs": (
        ZONE + "homogeneity = { min_differing = 0 }\n", {}, "policy.rule.number", 5, "homogeneity = { min_differing = 3 }"
    ),
    "epsilon that is no number": (
        HEAD + "[safe_zone]\ndifferential_privacy = { epsilon = nan }\n", {}, "policy.rule.number", 3, "{ epsilon = 1 }"
    ),
    "epsilon that protects nobody": (
        HEAD + "\n[safe_zone]\ndifferential_privacy = { epsilon = 1e9 }\n", {}, "policy.unsupported", 4, "at most 1000"
    ),
    "delta of nothing": (
        HEAD + "[safe_zone]\n\ndifferential_privacy = { epsilon = 1, delta = 0 }\n", {}, "policy.unsupported", 4, "1e-6"
    ),
    "no rows at all": (
        HEAD + "[safe_zone]\ndifferential_privacy = { epsilon = 1, max_rows = 0 }\n", {}, "policy.rule.number", 3,
        "{ epsilon = 1, max_rows = 1 }",
    ),
    "the safe part of nothing": (
        'unsafe = "suppress"\n\nsafe_zone = false\n', {}, "policy.zone.safe", 3, 'unsafe = "review"'
    ),
    "bounds without end": (
        ZONE + '[roles]\nage = { role = "measure", lower = -inf, upper = inf }\n', {}, "policy.role.bounds", 6, "lower = 0"
    ),
    "bounds too large": (
        ZONE + '[roles]\nage = { role = "measure", lower = 0, upper = 1' + "0" * 400 + " }\n", {},
        "policy.role.bounds", 6, "lower = 0",
    ),
    "a value too large": (
        ZONE + '[roles]\nage = { role = "quasi", domain = [1' + "0" * 30 + "] }\n", {}, "policy.role.domain", 6, "leave it out"
    ),
    "rows of more than there are numbers": (
        'unit = "who"\nrows_per_unit = 9' + "0" * 20 + "\n" + ZONE, {}, "policy.unit.rows", 2, "Write 1"
    ),
    "no steps at all": (ZONE + "\n[training]\nmax_steps = 0\n", {}, "policy.training", 7, "Write max_steps = 2000"),
    "more numbers than there are": (ZONE + "[training]\nmax_parameters = 0x" + "f" * 9000 + "\n", {}, "policy.training", 6, "from 1 to 2147483647."),
    "a bound of nothing": (ZONE + "[training]\nmax_epochs = 5\n", {}, "policy.toml.key", 6, "max_steps"),
    "savable in quotes": ('savable = "yes"\n' + ZONE, {}, "policy.savable", 1, "Without quotes"),
    "nothing at all": ("\n", {}, "policy.toml.missing", 1, "below it aggregation = 10"),
    "a key twice": (ZONE + "aggregation = 20\n", {}, "policy.toml", 5, "keep one"),
    "two askers at once": (
        HEAD + '[safe_zone]\nat_least = 2\nof = [\n  { user_id = "alice" },\n  { user_id = "bob" },\n]\n', {},
        "policy.zone.impossible", 2, "at_least",
    ),
    "more than there are": (HEAD + "[safe_zone]\nat_least = 3\nof = [true]\n", {}, "policy.rule.n", 3, "1 to 1, or false"),
    "n of no rules": (HEAD + "[safe_zone]\nat_least = 1\nof = []\n", {}, "policy.rule.n", 3, "Name the rules, or use false"),
    "dominance alone": (HEAD + "[safe_zone]\ndominance = 0.1\n", {}, "policy.zone.aggregation", 2, "the line aggregation = 10"),
    "nested nonsense": (
        HEAD + '[safe_zone]\nat_least = 1\nof = [\n  { aggregation = 10 },\n  { at_least = 2, of = [false, true] },\n]\n', {},
        "policy.zone.impossible", 6, "false",
    ),
    "a zone that is open after all": (
        HEAD + "[safe_zone]\nat_least = 1\nof = [true, { aggregation = 10 }]\n", {}, "policy.zone.always", 2, "true"
    ),
    "noise nobody needs": (
        HEAD + "[safe_zone]\nat_least = 1\nof = [{ differential_privacy = { epsilon = 1 } }, { aggregation = 10 }]\n", {},
        "policy.zone.exact", 2, "necessary",
    ),
    "strict around nothing": (
        'profile = "strict"\nunit = "who"\nunsafe = "log"\nsafe_zone = true\n', {}, "policy.zone.strict", 4, "leave profile out"
    ),
    "a table that is never answered": (
        'reserved = [["ward"]]\n' + ZONE + '[roles]\nward = "sensitive"\n', {}, "policy.reserved", 1, "quasi or public"
    ),
    "an unknown column that is reserved": ('reserved = [["wards"]]\n' + ZONE, {}, "policy.column", 1, "ward"),
    "a review of nothing": ("review_zone = false\n" + ZONE, {}, "policy.zone.review", 1, "reject"),
    "unknown column": (ZONE + '[roles]\n\nagee = "quasi"\n', {}, "policy.column", 7, "'age'"),
    "unknown column in arithmetic": (ZONE + '[derived]\nd = "age / heigth"\n', {}, "policy.column", 6, "columns are"),
    "unknown unit": ('unit = "whoo"\n' + ZONE, {}, "policy.column", 1, "column 'whoo'"),
    "unit with nulls": ("savable = true\nunit = 'part'\n" + ZONE, {}, "policy.unit.null", 2, "drop"),
    "unit that is not unique": ('unit = "who"\nrows_per_unit = 1\n' + ZONE, {}, "policy.unit.unique", 2, "rows_per_unit = 2"),
    "rows per row": ('unit = "row"\nrows_per_unit = 3\n' + ZONE, {}, "policy.unit.rows", 2, "leave"),
    "bounds": (
        ZONE + '[roles]\nward = "quasi"\nage = { role = "measure", lower = 0, upper = 70 }\n', {}, "policy.bounds", 7, "0 to 79"
    ),
    "bounds upside down": (
        ZONE + '[roles]\nage = { role = "measure", lower = 9, upper = 7 }\n', {}, "policy.role.bounds", 6, "lower < upper"
    ),
    "a measure of text": (ZONE + '[roles]\nward = "measure"\n', {}, "policy.role.type", 6, "quasi"),
    "hidden arithmetic": (
        ZONE + '[roles]\nage = "hidden"\n[derived]\nd = "age * 2"\n', {}, "policy.derived.hidden", 8, "another role"
    ),
    "an audience of nobody": (ZONE + "[audiences]\nward = []\n", {}, "policy.audience", 6, ""),
    "an audience of strangers": (ZONE + '[audiences]\nward = ["alice", "alcie"]\n', {}, "policy.audience.unknown", 6, "invite alcie"),
    "two audiences": (
        ZONE + '[audiences]\na = ["alice"]\n\nb = ["alice"]\n', {}, "policy.audience", 8, "join"
    ),
    "two units": ('\nunit = "who"\n' + ZONE, {"unit": "row"}, "policy.unit", 2, "one place"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused_at_upload_with_the_line_and_the_fix(world, case):
    text, options, code, line, fix = BAD[case]
    with pytest.raises(BastionError) as caught:
        world.owner.client.polars.send_df(FRAME, name="bad", policy=text, **options)
    error = caught.value
    assert error.code == code
    assert error.message.startswith(f"Line {line} of policy.toml")
    assert error.details["line"] == line
    assert fix in f"{error.message} {error.reason} {error.next_step}"
    assert "bad" not in {card.facts.name for card in world.owner.cards()}


@pytest.fixture(scope="module")
def kept(world):
    return world.owner.client.polars.send_df(FRAME, name="kept", policy=ZONE, unit="who")


@pytest.mark.parametrize(
    "case",
    [
        case
        for case, (_, options, code, *_) in BAD.items()
        if not options and code not in ("policy.unit.null",) and case != "rows per row"
    ],
)
def test_refused_at_a_change_too(world, kept, case):
    text, _, code, line, fix = BAD[case]
    before = world.owner.dataset("kept").dataset.facts
    with pytest.raises(BastionError) as caught:
        world.owner.set_policy("kept", text)
    assert (caught.value.code, caught.value.details["line"]) == (code, line)
    assert fix in str(caught.value)
    assert world.owner.dataset("kept").dataset.facts == before


def test_a_policy_object_has_no_line(world, kept):
    policy = Policy(Aggregation(10), Review(), unit="who", roles={"age": measure(0, 70)})
    for refused in (
        lambda: world.owner.client.polars.send_df(FRAME, name="bad", policy=policy),
        lambda: world.owner.set_policy("kept", policy),
    ):
        with pytest.raises(BastionError) as caught:
            refused()
        assert caught.value.code == "policy.bounds"
        assert caught.value.message.startswith("roles.age")
        assert "line" not in caught.value.details


def test_more_people_than_there_are_is_a_warning_to_the_owner_until_there_are(world):
    text = 'unit = "who"\n' + HEAD + "[safe_zone]\naggregation = 40\n"
    world.owner.client.polars.send_df(FRAME, name="few", policy=text)
    (warning,) = [w for w in world.owner.dataset("few").dataset.warnings if "at least 40" in w]
    assert "the table has 30" in warning
    assert not world.user.dataset("few").dataset.warnings
    assert world.user.dataset("few").select(pl.len()).fetch().height == 0
    more = pl.concat([FRAME, FRAME.with_columns(who=pl.col("who") + 100)])
    world.owner.client.polars.send_df(more, name="few", unit="who", replace=True)
    assert not [w for w in world.owner.dataset("few").dataset.warnings if "at least 40" in w]


def test_what_the_data_holds_is_told_to_its_owner_only(world, kept):
    with pytest.raises(BastionError, match="20 to 79"):
        world.owner.set_policy("kept", ZONE + "[roles]\nage = { role = 'measure', lower = 30, upper = 40 }\n")
    with pytest.raises(BastionError) as caught:
        world.user.set_policy("kept", ZONE + "[roles]\nage = { role = 'measure', lower = 30, upper = 40 }\n")
    assert caught.value.code == "wire.auth.owner"
    assert "79" not in str(caught.value)


def test_new_rows_keep_to_the_promises_of_the_policy(world):
    text = 'unit = "who"\nrows_per_unit = 2\n' + ZONE + "[roles]\nage = { role = 'measure', lower = 0, upper = 100 }\n"
    world.owner.client.polars.send_df(FRAME, name="promised", policy=text)
    older = FRAME.with_columns(age=pl.col("age") + 40)
    crowded = FRAME.with_columns(who=pl.col("who") // 2)
    for frame, code in ((older, "policy.bounds"), (crowded, "policy.unit.rows")):
        with pytest.raises(BastionError) as caught:
            world.owner.client.polars.send_df(frame, name="promised", unit="who", replace=True)
        assert caught.value.code == code
    assert world.owner.dataset("promised").dataset.facts.version == 1
    world.owner.client.polars.send_df(FRAME.head(40), name="promised", unit="who", replace=True)
    assert world.owner.dataset("promised").dataset.facts.version == 2


def test_a_declared_unique_unit_that_is_unique(world):
    text = 'unit = "who"\nrows_per_unit = 1\n' + ZONE
    card = world.owner.client.polars.send_df(FRAME.unique("who"), name="unique", policy=text).dataset
    assert card.facts.policy.rows_per_unit == 1


def test_a_rule_for_a_key_that_may_come_later_is_a_warning(world):
    policy = Policy(AtLeastNOf(1, [UserId("zoe"), Aggregation(10)]), Review(), unit="who")
    card = world.owner.client.polars.send_df(FRAME, name="for-zoe", policy=policy).dataset
    assert any("'zoe'" in text for text in card.warnings)
    card = world.owner.set_policy(
        "for-zoe", Policy(AtLeastNOf(1, [UserId("bob"), Aggregation(10)]), Review(), unit="who")
    )
    assert not any("bob" in text for text in card.warnings)
