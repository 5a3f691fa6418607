"""The policy: what an owner may write, what it comes to, what is refused."""

import math
from dataclasses import replace

import msgspec
import pytest
from bastion_plan.errors import PolicyError
from bastion_policy import model
from bastion_policy.model import (
    Aggregation,
    AtLeastNOf,
    Context,
    DifferentialPrivacy,
    Dominance,
    FalseRule,
    Homogeneity,
    LinearAudit,
    Log,
    Policy,
    Reject,
    Review,
    Role,
    RoleKind,
    Rounding,
    Saturation,
    Suppress,
    TrueRule,
    UserId,
    evaluate,
    measure,
    simplify,
)
from hypothesis import given
from policy_strategies import policies, queries, rules

import bastion.policy

# -- travelling


@given(policies())
def test_a_policy_travels(policy):
    wire = msgspec.msgpack.encode(policy)
    back = msgspec.convert(msgspec.msgpack.decode(wire), Policy)
    assert back == policy
    assert hash(back) == hash(policy)
    assert msgspec.msgpack.encode(back) == wire


@pytest.mark.parametrize("change", [{"surprise": 1}, {"safe_zone": {"rule": "aggregation"}}, {"unsafe_handling": {}}])
def test_what_travels_is_checked(change):
    tree = msgspec.to_builtins(Policy.default()) | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(tree, Policy)


def test_a_policy_that_means_nothing_is_refused_on_arrival():
    tree = msgspec.to_builtins(Policy.default())
    tree["safe_zone"]["min_agg_size"] = -1
    with pytest.raises(PolicyError):
        msgspec.convert(tree, Policy)


# -- evaluation

YES, NO, OPEN = Aggregation(1), Aggregation(2), Aggregation(3)
KNOWN = Context("alice", {YES: True, NO: False})


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (TrueRule(), True),
        (FalseRule(), False),
        (UserId("alice"), True),
        (UserId("bob"), False),
        (YES, True),
        (NO, False),
        (OPEN, None),
        (AtLeastNOf(1, [YES, OPEN]), True),
        (AtLeastNOf(1, [NO, OPEN]), None),
        (AtLeastNOf(1, [NO, NO]), False),
        (AtLeastNOf(2, [YES, OPEN]), None),
        (AtLeastNOf(2, [NO, OPEN]), False),
        (AtLeastNOf(2, [YES, NO, OPEN]), None),
        (AtLeastNOf(2, [YES, UserId("alice"), OPEN]), True),
        (AtLeastNOf(3, [YES, NO, OPEN]), False),
        (AtLeastNOf(1, [NO, AtLeastNOf(2, [YES, OPEN])]), None),
    ],
)
def test_three_values(rule, value):
    assert evaluate(rule, KNOWN) is value


def test_a_row_level_query_meets_no_measured_rule():
    row_level = Context("alice", otherwise=False)
    assert evaluate(AtLeastNOf(1, [UserId("alice"), OPEN]), row_level) is True
    assert evaluate(AtLeastNOf(1, [UserId("bob"), OPEN]), row_level) is False


@given(rules, queries)
def test_an_unknown_rule_never_decides_wrongly(rule, query):
    known = query.context(rule)
    whole = evaluate(rule, known)
    assert whole is not None
    for missing in list(known.measured):
        rest = {r: v for r, v in known.measured.items() if r != missing}
        assert evaluate(rule, Context(query.requester, rest)) in (whole, None)


@given(rules, queries)
def test_simplify_keeps_the_meaning(rule, query):
    context = query.context(rule)
    short = simplify(rule, query.requester)
    assert "UserId" not in repr(short)
    assert evaluate(short, context) == evaluate(rule, context)


# -- what a policy comes to


def test_aggregation_alone_means_the_whole_default_profile():
    found = Policy(Aggregation(10), Reject()).effective("anyone")
    assert (found.zone, found.k, found.p, found.shares) == ("guarded", 10, 0.10, ((2, 0.9),))
    assert found.homogeneity == Homogeneity(3, "sensitive")


def test_the_default_profile_audits_and_does_not_round():
    found = Policy.default().effective()
    assert (found.linear_audit, found.saturation, found.rounding) == (LinearAudit(), Saturation(), None)


def test_the_audit_can_be_switched_off_loudly():
    policy = Policy(
        safe_zone=Aggregation(10), unsafe_handling=Review(), weaken=("history", "linear_audit", "saturation")
    )
    assert (policy.effective().linear_audit, policy.effective().saturation) == (None, None)
    assert len([w for w in policy.warnings() if "is off" in w]) == 3
    assert Policy.default().unsupported() == ()


def test_named_rules_only_add():
    zone = AtLeastNOf(3, [Aggregation(10), Dominance(p=0.05), Dominance(n=2, share=0.95)])
    found = Policy(zone, Reject()).effective()
    assert (found.p, found.shares) == (0.10, ((2, 0.9),))
    assert Policy(AtLeastNOf(2, [Aggregation(10), Dominance(p=0.5)]), Reject()).effective().p == 0.5


def test_weaken_switches_off_loudly():
    policy = Policy(Aggregation(10), Reject(), weaken=("dominance",), unit="row")
    assert policy.effective().p is None
    assert policy.effective().shares == ()
    assert any("Dominance is off" in line for line in policy.warnings())
    own = Policy(AtLeastNOf(2, [Aggregation(10), Dominance(p=0.05)]), Reject(), weaken="dominance")
    assert own.effective().p == 0.05
    (said, *_) = own.warnings()
    assert said == "Of dominance the policy's own rule holds, and not what its profile asks for."


@pytest.mark.parametrize(
    ("zone", "requester", "kind", "k"),
    [
        (TrueRule(), "a", "open", 0),
        (FalseRule(), "a", "closed", 10),
        (UserId("a"), "a", "open", 0),
        (UserId("a"), "b", "closed", 10),
        (AtLeastNOf(1, [UserId("a"), Aggregation(20)]), "a", "open", 0),
        (AtLeastNOf(1, [UserId("a"), Aggregation(20)]), "b", "guarded", 20),
        (AtLeastNOf(2, [UserId("a"), Aggregation(20)]), "b", "closed", 10),
        (AtLeastNOf(1, [Aggregation(20), Aggregation(5)]), "b", "guarded", 5),
        (AtLeastNOf(2, [Aggregation(20), Aggregation(5)]), "b", "guarded", 20),
        (AtLeastNOf(1, [Aggregation(20), AtLeastNOf(2, [UserId("a"), Aggregation(5)])]), "a", "guarded", 5),
        (AtLeastNOf(1, [Aggregation(20), AtLeastNOf(2, [UserId("a"), Aggregation(5)])]), "b", "guarded", 20),
        (AtLeastNOf(1, [Aggregation(20), DifferentialPrivacy(1.0)]), "b", "guarded", 20),
        (AtLeastNOf(2, [Aggregation(20), DifferentialPrivacy(1.0)]), "b", "private", 20),
        (DifferentialPrivacy(1.0), "b", "private", 10),
    ],
)
def test_the_zone_of_a_requester(zone, requester, kind, k):
    found = Policy(zone, Reject()).effective(requester)
    assert (found.zone, found.k) == (kind, k)
    assert found.open == (kind == "open")


@given(policies(), queries)
def test_the_zone_agrees_with_evaluation(policy, query):
    found = policy.effective(query.requester)
    holds = evaluate(policy.safe_zone, query.context(policy.safe_zone))
    # an exact answer meets no rule about noise
    exact = evaluate(policy.safe_zone, replace(query, epsilon=math.inf).context(policy.safe_zone))
    row_level = evaluate(policy.safe_zone, Context(query.requester, otherwise=False))
    assert (found.zone == "open") == bool(row_level)
    if found.zone == "closed":
        assert holds is False
    if found.zone == "guarded" and exact:
        assert query.people >= found.k


# -- presets


def test_presets():
    assert Policy.open().effective().open
    assert Policy.default() == Policy(Aggregation(10), Review())
    strict = Policy.strict(unit="pid").effective()
    assert strict.profile == "strict"
    assert strict.homogeneity == Homogeneity(3, "all")
    assert (strict.linear_audit, strict.rounding) == (LinearAudit(pairs=True), Rounding(5, 3))
    assert (strict.p, strict.shares, strict.saturation) == (0.10, ((2, 0.9),), Saturation(0.33))
    assert Policy.private(epsilon=2).effective().privacy == DifferentialPrivacy(2.0)


def test_the_strict_profile_and_rounding_are_enforced():
    assert Policy.strict(unit="pid").unsupported() == ()
    assert Policy.private(epsilon=1500).unsupported() != ()
    for rule in (Rounding(), LinearAudit(), Saturation()):
        assert Policy(AtLeastNOf(2, [Aggregation(5), rule]), Log()).unsupported() == ()


# -- refusals


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: Aggregation(-1), "policy.rule.number"),
        (lambda: Aggregation(True), "policy.rule.number"),
        (lambda: Aggregation(2.5), "policy.rule.number"),
        (lambda: Aggregation("10"), "policy.rule.number"),
        (lambda: Dominance(), "policy.rule.dominance"),
        (lambda: Dominance(p=0.1, n=2), "policy.rule.dominance"),
        (lambda: Dominance(n=2), "policy.rule.dominance"),
        (lambda: Dominance(p=0), "policy.rule.number"),
        (lambda: Dominance(p=1.01), "policy.rule.number"),
        (lambda: Dominance(p=float("nan")), "policy.rule.number"),
        (lambda: Dominance(n=0, share=0.5), "policy.rule.number"),
        (lambda: Dominance(n=2, share=-0.5), "policy.rule.number"),
        (lambda: Homogeneity(columns="some"), "policy.rule.choice"),
        (lambda: Homogeneity(0), "policy.rule.number"),
        (lambda: LinearAudit(1), "policy.rule.choice"),
        (lambda: Saturation(0), "policy.rule.number"),
        (lambda: Rounding(base=1), "policy.rule.number"),
        (lambda: DifferentialPrivacy(0), "policy.rule.number"),
        (lambda: DifferentialPrivacy(float("inf")), "policy.rule.number"),
        (lambda: DifferentialPrivacy(1.0, 1.5), "policy.rule.number"),
        (lambda: UserId("a b"), "policy.rule.user"),
        (lambda: UserId(""), "policy.rule.user"),
        (lambda: UserId("@team"), "policy.rule.user"),
        (lambda: UserId(7), "policy.rule.user"),
        (lambda: AtLeastNOf(3, [TrueRule(), FalseRule()]), "policy.rule.n"),
        (lambda: AtLeastNOf(0, [TrueRule()]), "policy.rule.number"),
        (lambda: AtLeastNOf(1, [Log()]), "policy.rule.of"),
        (lambda: AtLeastNOf(1, TrueRule()), "policy.rule.of"),
        (lambda: measure(1, 1), "policy.role.bounds"),
        (lambda: measure(1, None), "policy.role.bounds"),
        (lambda: measure(0, float("inf")), "policy.role.bounds"),
        (lambda: Role("quasi", 0, 1), "policy.role.bounds"),
        (lambda: Role("hidden", domain=("a",)), "policy.role.domain"),
        (lambda: Role("public", domain=()), "policy.role.domain"),
        (lambda: Role("quasy"), "policy.role.kind"),
        (lambda: Policy(10, Log()), "policy.zone"),
        (lambda: Policy(TrueRule(), "log"), "policy.action"),
        (lambda: Policy(TrueRule(), Log), "policy.action"),
        (lambda: Policy(TrueRule(), Log(), savable=1), "policy.savable"),
        (lambda: Policy(TrueRule(), Log(), unit=""), "policy.unit"),
        (lambda: Policy(TrueRule(), Log(), profile="paranoid"), "policy.profile"),
        (lambda: Policy(TrueRule(), Log(), weaken=("aggregation",)), "policy.weaken"),
        (lambda: Policy(TrueRule(), Log(), weaken=("dominance",), profile="strict"), "policy.weaken"),
        (lambda: Policy(TrueRule(), Log(), roles={"a": 3}), "policy.role.kind"),
        (lambda: Policy(TrueRule(), Log(), roles={3: "quasi"}), "policy.role.table"),
        (lambda: Policy(TrueRule(), Log(), derived={"a": "import os"}), "policy.derived"),
        (lambda: Policy(TrueRule(), Log(), audiences={"a": ("x",), "b": ("x",)}), "policy.audience"),
        (lambda: Policy(TrueRule(), Log(), audiences={"a": "xy"}), "policy.audience"),
        (lambda: Policy(Dominance(p=0.1), Log()), "policy.zone.aggregation"),
        (lambda: Policy(AtLeastNOf(1, [Aggregation(10), Homogeneity()]), Log()), "policy.zone.aggregation"),
    ],
)  # fmt: skip
def test_refused(make, code):
    with pytest.raises(PolicyError) as error:
        make()
    assert error.value.code == code
    assert error.value.message.endswith((".", "?"))


def test_a_zone_has_limits():
    deep = Aggregation(10)
    for _ in range(20):
        deep = AtLeastNOf(1, [deep])
    for zone in (deep, AtLeastNOf(1, [Aggregation(10)] * 300)):
        with pytest.raises(PolicyError) as error:
            Policy(zone, Log())
        assert error.value.code == "policy.zone.size"


@pytest.mark.parametrize(
    "policy",
    [
        Policy(Aggregation(5), Log(), roles={"Pclas": "quasi"}),
        Policy(Aggregation(5), Log(), unit="Pclas"),
        Policy(Aggregation(5), Log(), derived={"x": "Pclas * Age"}),
    ],
)
def test_unknown_columns_are_met_with_a_suggestion(policy):
    with pytest.raises(PolicyError) as error:
        policy.check_columns(["Pclass", "Age"])
    assert error.value.code == "policy.column"
    assert "'Pclass'" in error.value.next_step


def test_warnings():
    assert Policy(Aggregation(10), Suppress(), unit="pid").warnings() == ()
    assert any("single people" in w for w in Policy(Aggregation(1), Suppress(), unit="pid").warnings())
    assert any("single rows" in w for w in Policy.open().warnings())
    assert any("Log" in w for w in Policy(Aggregation(10), Log(), unit="pid").warnings())
    assert any("privacy unit" in w for w in Policy.default().warnings())


def test_hidden_columns_are_added():
    policy = Policy(Aggregation(5), Log(), roles={"a": "quasi"}).with_hidden(["a", "b"])
    assert policy.roles == {"a": Role(RoleKind.HIDDEN), "b": Role(RoleKind.HIDDEN)}
    assert Policy.default().with_hidden([]) == Policy.default()


def test_audiences():
    policy = Policy(Aggregation(5), Log(), audiences={"team": ("alice", "bob")})
    assert policy.audience("alice") == policy.audience("bob") == "@team"
    assert policy.audience("carol") == "carol"


#: as BastionLab called them
OLD_NAMES = ("Rule", "AtLeastNof", "DEFAULT_POLICY")


def test_what_owners_import():
    assert set(bastion.policy.__all__) == {
        *("Policy", "Aggregation", "Dominance", "Homogeneity", "LinearAudit", "Saturation", "Rounding", "UserId"),
        *("AtLeastNOf", "TrueRule", "FalseRule", "DifferentialPrivacy", "Log", "Review", "Reject", "Suppress"),
        *("Role", "measure", "public", "quasi", "to_toml", "from_toml", "Training"),
        *OLD_NAMES,
    }
    assert issubclass(bastion.policy.Policy, model.Policy)
    for name in {*bastion.policy.__all__} - {*OLD_NAMES, "Policy", "Aggregation"}:
        assert getattr(bastion.policy, name) is getattr(model, name)
