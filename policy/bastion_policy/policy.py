"""What the owner writes: the policy of a table, and what it comes to for one requester."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from bastion_plan.errors import did_you_mean
from bastion_plan.expressions import Expr

from bastion_policy.actions import Action, AnyAction, Log, Reject, Review, Suppress
from bastion_policy.caps import Training
from bastion_policy.derived import columns_of, parse_derived
from bastion_policy.roles import Role, RoleKind, to_roles
from bastion_policy.rules import (
    KEY_NAME,
    MAX_DEPTH,
    MAX_RULES,
    MAX_WHOLE,
    Aggregation,
    AnyRule,
    Context,
    DifferentialPrivacy,
    Dominance,
    FalseRule,
    Homogeneity,
    LinearAudit,
    Rounding,
    Rule,
    Saturation,
    TrueRule,
    UserId,
    depth,
    evaluate,
    leaves,
    refuse,
    simplify,
    strictest_noise,
)

DEFAULT_K = 10
MAX_RESERVED = 32
#: the rules of the default profile that hold besides Aggregation, whether or not a policy names them
DEFAULT_RULES: tuple[AnyRule, ...] = (
    Dominance(p=0.10),
    Dominance(n=2, share=0.9),
    Homogeneity(),
    LinearAudit(),
    Saturation(),
)
STRICT_RULES: tuple[AnyRule, ...] = (
    Dominance(p=0.10),
    Dominance(n=2, share=0.9),
    Homogeneity(columns="all"),
    LinearAudit(pairs=True),
    Saturation(),
    Rounding(),
)
#: what `weaken` may name, and the sentence that is logged for it
WEAKENABLE = {
    "dominance": "Dominance is off: one person may make up nearly all of a released sum.",
    "homogeneity": "Homogeneity is off: a cell may show that nearly everybody in it shares one sensitive value.",
    "history": "The history is off: two answers that differ by one person may both be released.",
    "linear_audit": "The linear audit is off: several answers together may give away one person.",
    "saturation": "The rank budget is off: any number of overlapping answers may be released.",
}
#: names of the profile's rules as `weaken` gives them
RULE_NAMES: dict[type[Rule], str] = {
    Dominance: "dominance",
    Homogeneity: "homogeneity",
    LinearAudit: "linear_audit",
    Saturation: "saturation",
    Rounding: "rounding",
}
PROFILES = ("default", "strict")


@dataclass(frozen=True, slots=True)
class Effective:
    """What a policy comes to for one requester.

    zone: "open" (everything is released), "guarded" (what passes the rules below is released automatically),
        "private" (only with noise) or "closed" (nothing is released automatically).
    k: distinct units that every released number needs; 0 where open, DEFAULT_K where closed (for the safe part).
    p: the p% rule's p, or None. shares: (n, share) of the n-k rules.
    homogeneity: the rule in force, or None.
    linear_audit, saturation: the linear audit and its rank budget, or None.
    rounding, privacy: rules of later releases, or None (see Policy.unsupported).
    profile: "default" or "strict".
    weakened: names of `weaken` in force.
    """

    zone: str
    k: int
    p: float | None = None
    shares: tuple[tuple[int, float], ...] = ()
    homogeneity: Homogeneity | None = None
    linear_audit: LinearAudit | None = None
    saturation: Saturation | None = None
    rounding: Rounding | None = None
    privacy: DifferentialPrivacy | None = None
    profile: str = "default"
    weakened: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether everything is released without a guard."""
        return self.zone == "open"


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may leave of one table.

    safe_zone: queries for which this rule holds are released automatically.
    unsafe_handling: the action for the others, as long as `review_zone` holds for them; outside both: refused.
    savable: whether results may be kept on the server under a name.
    unit: the column of the privacy unit (whom the data is about), "row" for one person per row, None: not declared.
    rows_per_unit: how many rows one person has at most, checked at upload (1: the unit is unique); None: not declared.
    unit_domain: names the people whom several of the owner's tables are about; what was released of one then counts in all.
    roles: role per column; strings are accepted ({"age": "quasi", "salary": measure(0, 500_000)}).
    derived: arithmetic over several columns that the owner allows, by name ({"bmi": "weight / height ** 2"}).
    audiences: identities that count as one, by name of the audience; in all tables of the unit domain, and for ever once
        they were told something.
    profile: "default" or "strict": what an Aggregation brings with it.
    weaken: rules of the profile that the owner switches off ("dominance", "homogeneity", "history", "linear_audit",
        "saturation"); always logged.
    reserved: tables that must stay answerable, each by its key columns ([["sex"], ["sex", "class"]]): they count as released
        to every audience from the start, so that no odd earlier question uses them up.
    training: what a fit on the table may take, beside its epsilon; None: what the server allows.

    Rules that a policy names besides Aggregation only ever add to the profile; `weaken` alone takes away from it.

    Raises:
        PolicyError: a policy that means nothing or contradicts itself.
    """

    safe_zone: AnyRule
    unsafe_handling: AnyAction
    savable: bool = True
    review_zone: AnyRule = TrueRule()
    unit: str | None = None
    unit_domain: str | None = None
    roles: dict[str, Role] | None = None
    derived: dict[str, str] | None = None
    audiences: dict[str, tuple[str, ...]] | None = None
    profile: str = "default"
    weaken: tuple[str, ...] = ()
    rows_per_unit: int | None = None
    reserved: tuple[tuple[str, ...], ...] = ()
    training: Training | None = None

    def __post_init__(self) -> None:
        for name in ("safe_zone", "review_zone"):
            _check_zone(name, getattr(self, name))
        if not isinstance(self.unsafe_handling, Action) or type(self.unsafe_handling) is Action:
            msg = "unsafe_handling must be an action."
            raise refuse("action", msg, next_step="Use Log(), Review(), Suppress() or Reject().", path="unsafe")
        if not isinstance(self.savable, bool):
            raise refuse("savable", "savable must be true or false.", next_step="Without quotes.", path="savable")
        if self.unit is not None and (not isinstance(self.unit, str) or not self.unit):
            msg = "unit must be the name of a column."
            raise refuse("unit", msg, next_step='Or "row": one person per row.', path="unit")
        if self.unit_domain is not None and not (
            isinstance(self.unit_domain, str) and KEY_NAME.fullmatch(self.unit_domain)
        ):
            msg = f"unit_domain: {self.unit_domain!r} is not a name of up to 64 letters, digits or . _ @ -."
            raise refuse(
                "unit.domain", msg, next_step='Write unit_domain = "patients", for example.', path="unit_domain"
            )
        rows = self.rows_per_unit
        if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or not 1 <= rows <= MAX_WHOLE):
            msg = f"rows_per_unit must be a whole number from 1 to {MAX_WHOLE}, not {rows!r}."
            raise refuse("unit.rows", msg, next_step="Write 1 where the unit is unique.", path="rows_per_unit")
        if self.profile not in PROFILES:
            msg = f"There is no profile {self.profile!r}."
            raise refuse("profile", msg, next_step='Use "default" or "strict".', path="profile")
        self._set("roles", to_roles(self.roles) if self.roles else None)
        self._set("derived", dict(self.derived) if self.derived else None)
        self.derived_exprs()
        self._set("audiences", _audiences(self.audiences) if self.audiences else None)
        self._set("weaken", self._check_weaken())
        self._set("reserved", _reserved(self.reserved))
        if self.training is not None and not isinstance(self.training, Training):
            msg = "training must be Training(…)."
            raise refuse("training", msg, next_step="Write training=Training(max_steps=2000).", path="training")
        if self.training == Training():
            self._set("training", None)
        _check_aggregation(self.safe_zone)

    def _set(self, name: str, value: object) -> None:
        msgspec.structs.force_setattr(self, name, value)

    def _check_weaken(self) -> tuple[str, ...]:
        names = (self.weaken,) if isinstance(self.weaken, str) else tuple(self.weaken)
        for name in names:
            if name not in WEAKENABLE:
                raise refuse(
                    "weaken",
                    f"{name!r} is not a rule that can be switched off.",
                    next_step=did_you_mean(str(name), WEAKENABLE) or f"Known: {', '.join(WEAKENABLE)}.",
                    path="weaken",
                )
        if names and self.profile == "strict":
            msg = "The strict profile cannot be weakened."
            raise refuse("weaken", msg, next_step='Use profile="default".', path="weaken")
        return tuple(sorted(set(names)))

    def __hash__(self) -> int:
        tables = (self.roles, self.derived, self.audiences)
        flat = (self.safe_zone, self.unsafe_handling, self.savable, self.review_zone, self.unit, self.profile)
        return hash(
            (
                flat,
                self.weaken,
                self.rows_per_unit,
                self.unit_domain,
                self.training,
                tuple(frozenset(t.items()) if t else None for t in tables),
            )
        )

    # -- presets

    @classmethod
    def open(cls) -> Policy:
        """Return the policy that releases everything to everyone who may see the table."""
        return cls(safe_zone=TrueRule(), unsafe_handling=Log())

    @classmethod
    def default(cls) -> Policy:
        """Return the policy of a table nobody wrote one for: at least 10 people, else the owner reviews."""
        return cls(safe_zone=Aggregation(DEFAULT_K), unsafe_handling=Review())

    @classmethod
    def strict(cls, unit: str) -> Policy:
        """Return the strict preset: declared roles for every column, rounded numbers, one reason for what is withheld."""
        return cls(safe_zone=Aggregation(DEFAULT_K), unsafe_handling=Suppress(), unit=unit, profile="strict")

    @classmethod
    def private(
        cls,
        epsilon: float,
        delta: float = 1e-6,
        unit: str | None = None,
        *,
        roles: dict[str, Role] | None = None,
        max_rows: int = 1,
        max_groups: int = 1,
        training: Training | None = None,
    ) -> Policy:
        """Return the differential privacy preset: answers carry noise, all together at most (epsilon, delta).

        max_rows, max_groups: how much of one person counts, see DifferentialPrivacy. roles: sums and means need the bounds
        of `measure(lower, upper)`, group keys that shall always be shown a domain. training: what one fit may take.
        """
        zone = DifferentialPrivacy(epsilon, delta, max_rows, max_groups)
        return cls(
            safe_zone=zone, unsafe_handling=Reject(), savable=False, review_zone=FalseRule(), unit=unit, roles=roles,
            training=training,
        )  # fmt: skip

    # -- what it comes to

    def effective(self, requester: str = "") -> Effective:
        """Return what the policy comes to for one requester."""
        zone = simplify(self.safe_zone, requester)
        rules = list(leaves(zone))
        match zone:
            case TrueRule():
                return Effective("open", 0, profile=self.profile, weakened=self.weaken)
            case FalseRule():
                kind, k, rules = "closed", DEFAULT_K, []
            case _:
                k, needs_noise = _threshold(zone)
                kind = "private" if needs_noise else "guarded"
        profile = STRICT_RULES if self.profile == "strict" else DEFAULT_RULES
        rules += [rule for rule in profile if RULE_NAMES[type(rule)] not in self.weaken]
        return _resolve(kind, k, rules, self)

    def unsupported(self) -> tuple[str, ...]:
        """Return why this release cannot enforce the policy, one sentence per reason; empty if it can."""
        found = {type(rule) for zone in (self.safe_zone, self.review_zone) for rule in leaves(zone)}
        return tuple(_noise_problems(self)) if DifferentialPrivacy in found else ()

    def warnings(self) -> tuple[str, ...]:
        """Return what an owner should know before the table is served, one sentence each; empty if there is nothing."""
        own = {RULE_NAMES.get(type(rule)) for rule in leaves(self.safe_zone)}
        found = [
            f"Of {name} the policy's own rule holds, and not what its profile asks for."
            if name in own
            else WEAKENABLE[name]
            for name in self.weaken
        ]
        if self.effective().open:
            found.append("Everything in this table is released to everyone who may see it, single rows included.")
        for rule in leaves(self.safe_zone):
            if isinstance(rule, Aggregation) and rule.min_agg_size < 2:
                found.append(f"Aggregation({rule.min_agg_size}) releases numbers about single people.")
        if isinstance(self.unsafe_handling, Log) and not self.effective().open:
            found.append("Unsafe answers are released too (Log); they are only marked in the audit log.")
        if self.unit is None:
            found.append("No privacy unit is declared: every row counts as a person of its own.")
        return tuple(dict.fromkeys(found))

    def audience(self, requester: str) -> str:
        """Return the audience that this policy puts one requester into: its name, else the requester's own.

        An audience's name is marked with a leading "@", which no key name has. Under which key a history is kept is the
        server's record (store/audiences.py): a policy may change, what was told stays told.
        """
        for name, members in (self.audiences or {}).items():
            if requester in members:
                return f"@{name}"
        return requester

    def derived_exprs(self) -> dict[str, Expr]:
        """Return the arithmetic that the owner allows, as plan expressions by name."""
        return {name: parse_derived(name, text) for name, text in (self.derived or {}).items()}

    def with_hidden(self, names: Iterable[str]) -> Policy:
        """Return the policy with more hidden columns (BastionLab's sanitized_columns)."""
        roles = dict(self.roles or {}) | {name: Role(RoleKind.HIDDEN) for name in names}
        return msgspec.structs.replace(self, roles=roles)

    def check_columns(self, columns: Iterable[str]) -> None:
        """Check every column the policy names against those of the table.

        Raises:
            PolicyError: policy.column, with the nearest name.
        """
        known = list(columns)
        named = {f"roles.{name}": name for name in self.roles or {}}
        for derived, expr in self.derived_exprs().items():
            named |= {f"derived.{derived}": column for column in reversed(columns_of(expr)) if column not in known}
        if self.unit is not None and self.unit != "row":
            named["unit"] = self.unit
        named |= {f"reserved[{i}]": c for i, keys in enumerate(self.reserved) for c in keys if c not in known}
        for where, name in named.items():
            if name not in known:
                raise refuse(
                    "column",
                    f"{where}: the table has no column {name!r}.",
                    next_step=did_you_mean(name, known) or f"Its columns are {', '.join(known[:20])}.",
                    path=where,
                )


#: below this, the delta of an account is not told apart from 0
MIN_DELTA = 1e-12
#: above this, noise protects nobody
MAX_EPSILON = 1000.0


def noise_alone(zone: Rule) -> bool:
    """Whether the zone holds of a noisy answer whatever exact rules would say of it."""
    noise: dict[Rule, bool | None] = {r: True for r in leaves(zone) if isinstance(r, DifferentialPrivacy)}
    return bool(noise) and bool(evaluate(zone, Context("", noise, otherwise=False)))


def _noise_problems(policy: Policy) -> list[str]:
    reasons = []
    rules = [r for z in (policy.safe_zone, policy.review_zone) for r in leaves(z) if isinstance(r, DifferentialPrivacy)]
    if any(r.delta < MIN_DELTA for r in rules):
        reasons.append(
            "DifferentialPrivacy needs a delta of at least 1e-12, such as 1e-6: costs are added up as zero-concentrated "
            "differential privacy, which has no epsilon without one."
        )
    if any(r.epsilon > MAX_EPSILON for r in rules):
        reasons.append(
            f"DifferentialPrivacy takes an epsilon of at most {MAX_EPSILON:g}, and 10 is a lot: more is no protection."
        )
    if any(isinstance(r, DifferentialPrivacy) for r in leaves(policy.review_zone)):
        reasons.append("DifferentialPrivacy is a rule of the safe zone: noise needs no review.")
    users = {r.id for r in leaves(policy.safe_zone) if isinstance(r, UserId)}
    for requester in (*sorted(users), ""):
        zone = simplify(policy.safe_zone, requester)
        if policy.effective(requester).zone == "private" and not noise_alone(zone):
            reasons.append(
                "A zone cannot ask for noise and for an exact rule of the same answer: whether the exact rule holds would "
                "be told without noise."
            )
            break
    return reasons


def _check_zone(name: str, rule: object) -> None:
    if not isinstance(rule, Rule) or type(rule) is Rule:
        raise refuse(
            "zone", f"{name} must be a rule.", next_step=f"Write {name}=Aggregation(10), for example.", path=name
        )
    if depth(rule) > MAX_DEPTH or sum(1 for _ in leaves(rule)) > MAX_RULES:
        msg = f"{name} has more than {MAX_RULES} rules or nests them more than {MAX_DEPTH} deep."
        raise refuse("zone.size", msg, path=name)


def _check_aggregation(zone: Rule) -> None:
    """Refuse a zone that a rule such as Dominance would open without an Aggregation: it says nothing of how many."""
    users = {rule.id for rule in leaves(zone) if isinstance(rule, UserId)}
    for requester in (*sorted(users), ""):
        small: dict[Rule, bool | None] = {
            r: False for r in leaves(zone) if isinstance(r, Aggregation | DifferentialPrivacy)
        }
        best = evaluate(zone, Context(requester, small, otherwise=True))
        if best and not evaluate(zone, Context(requester, otherwise=False)):
            raise refuse(
                "zone.aggregation",
                "The safe zone would release numbers without asking how many people they are about.",
                "Dominance, Homogeneity, LinearAudit, Saturation and Rounding only tighten an Aggregation.",
                "Put one beside it: AtLeastNOf(2, [Aggregation(10), …]); in a policy file the line aggregation = 10.",
                path="safe_zone",
            )


def _reserved(margins: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    found = []
    for keys in margins:
        columns = () if isinstance(keys, str) else tuple(keys)
        if not columns or not all(isinstance(c, str) and c for c in columns) or len(set(columns)) < len(columns):
            msg = f"reserved: {keys!r} is not a list of different columns."
            raise refuse("reserved", msg, next_step='Write reserved = [["sex"], ["sex", "class"]].', path="reserved")
        found.append(columns)
    if len(found) > MAX_RESERVED:
        raise refuse("reserved", f"reserved: at most {MAX_RESERVED} tables can be reserved.", path="reserved")
    return tuple(found)


def _audiences(audiences: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    seen: dict[str, str] = {}
    for audience, members in audiences.items():
        path = f"audiences.{audience}"
        if isinstance(members, str) or not members:
            raise refuse("audience", f"Audience {audience!r} must be a list of key names.", path=path)
        for member in members:
            if not isinstance(member, str) or not KEY_NAME.fullmatch(member):
                msg = f"Audience {audience!r}: {member!r} is not a name that a key can have."
                raise refuse("audience", msg, next_step="`bastion keys list` shows the names.", path=path)
            if seen.setdefault(member, audience) != audience:
                msg = f"{member!r} is in two audiences, {seen[member]!r} and {audience!r}."
                raise refuse("audience", msg, next_step="One identity is in one audience: join the two.", path=path)
    return {name: tuple(sorted(set(members))) for name, members in audiences.items()}


def _threshold(zone: Rule) -> tuple[int, bool]:
    """Return the smallest k for which the zone holds with all other rules met, and whether it needs noise for that."""
    asked = [rule for rule in leaves(zone) if isinstance(rule, Aggregation)]
    for noise in (False, True):
        for k in sorted({rule.min_agg_size for rule in asked}) or [DEFAULT_K]:
            measured: dict[Rule, bool | None] = {rule: rule.min_agg_size <= k for rule in asked}
            measured |= {rule: noise for rule in leaves(zone) if isinstance(rule, DifferentialPrivacy)}
            if evaluate(zone, Context("", measured, otherwise=True)):
                return k, noise
    msg = "a zone that is not FalseRule holds once all its rules do"
    raise AssertionError(msg)


def _resolve(zone: str, k: int, rules: Iterable[Rule], policy: Policy) -> Effective:
    """Fold rules into one, the strictest of each kind."""
    found = list(rules)
    shares: dict[int, float] = {}
    for rule in found:
        if isinstance(rule, Dominance) and rule.n is not None and rule.share is not None:
            shares[rule.n] = min(rule.share, shares.get(rule.n, 1.0))
    homogeneity = [r for r in found if isinstance(r, Homogeneity)]
    audits = [r for r in found if isinstance(r, LinearAudit)]
    saturation = [r for r in found if isinstance(r, Saturation)]
    rounding = [r for r in found if isinstance(r, Rounding)]
    return Effective(
        zone,
        k,
        p=max((r.p for r in found if isinstance(r, Dominance) and r.p is not None), default=None),
        shares=tuple(sorted(shares.items())),
        homogeneity=Homogeneity(
            max(r.min_differing for r in homogeneity),
            "all" if any(r.columns == "all" for r in homogeneity) else "sensitive",
        )
        if homogeneity
        else None,
        linear_audit=LinearAudit(
            any(r.pairs for r in audits), min((r.tau for r in audits if r.tau is not None), default=None)
        )
        if audits
        else None,
        saturation=Saturation(min(r.share for r in saturation)) if saturation else None,
        rounding=Rounding(max(r.base for r in rounding), min(r.digits for r in rounding)) if rounding else None,
        privacy=strictest_noise(found),
        profile=policy.profile,
        weakened=policy.weaken,
    )
