"""How long a text of one row becomes is bounded by the plan, so that nobody's value decides whether a question fails."""

from __future__ import annotations

import datetime as dt
import unicodedata
from itertools import pairwise
from random import Random
from typing import Any

import bastion_plan.dtypes as t
import polars
import pytest
from bastion_plan.bind import bind
from bastion_plan.dtypes import DType
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Expr
from bastion_plan.functions.registry import find
from bastion_plan.nodes import Inline, InlineColumn, Scan, Select
from bastion_policy import flow_sizes
from bastion_policy.flow_functions import TOTAL
from bastion_policy.flow_patterns import shortest_match, steps_of
from bastion_policy.flow_sizes import LETTERS, MOST_BYTES, MOST_TIMES, Length, Lengths, weight
from bastion_policy.flow_total import FORMATS
from bastion_policy.model import Aggregation, Log, Policy, Reject, Review, Suppress
from bastion_policy.verdict import Outcome
from bastion_server.engine.lower import lower
from drive import World
from generators import random_call
from query import Q

import bastion.expressions as pl

TEXTS = ["rare", "common", "", "aaaaaaaa", "a b  c", "ŉﷺΐ㌖ß", "İǅﬃ", "\U0001d160", "日本", "1,234.5", "Straße 7", "$1"]
T = Q("t")
s, other, when, far, few = (pl.col(c) for c in ("s", "o", "d", "x", "l"))


def frame() -> polars.DataFrame:
    return polars.DataFrame(
        {
            "s": TEXTS,
            "o": TEXTS[1:] + TEXTS[:1],
            "d": [dt.date(9999, 9, 29)] * len(TEXTS),
            "x": [-1.2345678901234567e-300] * len(TEXTS),
            "l": [[v] for v in TEXTS],
        }
    )


class Facts:
    """A table as `bind` sees one."""

    plan = None

    def __init__(self) -> None:
        self.schema = {"s": t.STRING, "o": t.STRING, "d": t.DATE, "x": t.FLOAT64, "l": t.list_of(t.STRING)}


def made(plan: Any) -> tuple[Length | None, str | None, polars.Series]:
    """Return what is known of a plan's column `z`, what makes it too long, and its values."""
    bound = bind(plan, {"t": Facts()})
    lengths = Lengths(bound)
    name = lengths.grown(bound.root)
    values = lower(bound.root, {"t": frame().lazy()}).collect()["z"]
    return lengths.of(bound.root).get("z"), name, values


def size(value: Any) -> float:
    if isinstance(value, str | bytes):
        return weight(value)
    if isinstance(value, polars.Series | list):
        return sum(size(v) + 1 for v in value)
    return sum(map(size, value.values())) if isinstance(value, dict) else 0


def check(expr: Any, what: object = "") -> None:
    plan = T.select(expr.alias("z")).plan if not isinstance(expr, Expr) else Select(Scan("t"), (Alias(expr, "z"),))
    length, _, values = made(plan)
    if length is None:
        assert (
            values.dtype.is_numeric() or values.dtype.is_temporal() or values.dtype in (polars.Boolean, polars.Null)
        ), what
        return
    stored = [max(size(v) for v in row.values()) for row in frame().iter_rows(named=True)]
    values = polars.Series([values[0]] * len(stored)) if len(values) == 1 else values
    for row, value in zip(stored, values, strict=True):
        assert size(value) <= length.times * row + length.more, (what or expr, value, length)


WORST: dict[str, list[Any]] = {
    "add": [s + s, s + other + s, s + "ΐ" * 50],
    "fill_null": [s.fill_null("ΐ" * 50)],
    "fill_nan": [far.fill_nan(1.0)],
    "replace": [s.replace("rare", "x" * 200), s.replace(["rare", "common"], ["x" * 300, "y"])],
    "cut": [far.cut([0.0], labels=["a" * 300, "b"]), far.cut([1e-300, 1.5e300])],
    "bin_intervals": [far.bin_intervals([0.0], ["ΐ" * 99, "b"])],
    "pl.coalesce": [pl.coalesce(s, other, pl.lit("z" * 400))],
    "pl.max_horizontal": [pl.max_horizontal(s, pl.lit("ﷺ" * 20))],
    "pl.min_horizontal": [pl.min_horizontal(s, other)],
    "pl.concat_str": [pl.concat_str(s, other, s, far, when, separator="ΐ" * 9)],
    "pl.format": [pl.format("{} und {} und {}", s, other, far)],
    "pl.struct": [pl.struct(s, other, s.alias("again"))],
    "struct.field": [pl.struct(s, other).struct.field("o")],
    "str.to_lowercase": [s.str.to_lowercase()],
    "str.to_uppercase": [s.str.to_uppercase().str.to_lowercase().str.to_uppercase()],
    "str.to_titlecase": [s.str.to_titlecase()],
    "str.normalize": [s.str.normalize(form) for form in ("NFC", "NFD", "NFKC", "NFKD")],
    "str.reverse": [s.str.normalize("NFKD").str.reverse().str.normalize("NFC").str.to_uppercase()],
    "str.replace": [
        s.str.replace("", "x" * 99),
        s.str.replace("a", "b" * 9, n=3, literal=True),
        s.str.replace("(.*)", "$1$1$1"),
        s.str.replace("a", "b" * 900, n=5000, literal=True),
    ],
    "str.replace_all": [
        s.str.replace_all("", "x" * 9),
        s.str.replace_all("", "xy", literal=True),
        s.str.replace_all("x*", "ΐ"),
        s.str.replace_all("a", "ΐ"),
        s.str.replace_all("aa", "xyz", literal=True),
        s.str.replace_all("(a)", "$1$1-${1}"),
        s.str.replace_all("a+", "$0$0"),
        s.str.replace_all("aaaa+", "$0$0$0"),
        s.str.replace_all(r"\b", "|"),
        s.str.replace_all(r"[a-z]{2}", "abcd"),
        s.str.replace_all("$", "xyz"),
        s.str.replace_all("a|", "xyz"),
        s.str.replace_all("(?x) ( ) ", "xyz"),
        s.str.to_uppercase().str.replace_all("[A-Z]", "ΐ"),
        s.str.replace_all("a", other),
    ],
    "str.replace_many": [
        s.str.replace_many(["a", "rare"], ["ΐ" * 4, "x"]),
        s.str.replace_many(["a", "b"], ["xyz"]),
        s.str.replace_many(["", "a"], ["xyz", ""]),
    ],
    "str.pad_start": [s.str.pad_start(300), s.str.pad_start(90, "ΐ")],
    "str.pad_end": [s.str.pad_end(300), s.str.pad_end(90, "ΐ")],
    "str.zfill": [s.str.zfill(300)],
    "str.split": [s.str.split(""), s.str.split("a"), s.str.split("a", inclusive=True)],
    "str.split_exact": [s.str.split_exact("a", 3), s.str.split_exact("a", 3, inclusive=True)],
    "str.splitn": [s.str.splitn("a", 3)],
    "list.join": [few.list.join("ΐ" * 5), s.str.split("").list.join("xyz")],
    "list.unique": [few.list.unique()],
    "dt.strftime": [when.dt.strftime("%F%A%B" * 10), when.dt.strftime("ΐ" * 90)],
    "dt.to_string": [when.dt.to_string("%D %F")],
}


@pytest.mark.parametrize("name", WORST)
def test_no_row_is_longer_than_its_bound(name: str) -> None:
    for expr in WORST[name]:
        check(expr)


@pytest.mark.parametrize("name", sorted(f for f in TOTAL | FORMATS if find(f) is not None))
def test_no_function_that_rows_are_given_to_makes_more_of_them(name: str) -> None:
    function, rng, schema = find(name), Random(name), Facts().schema
    assert function is not None
    for _ in range(12):
        try:
            call = random_call(rng, function, schema)
        except BindError:
            continue
        try:
            made(Select(Scan("t"), (Alias(call, "z"),)))
        except (BindError, polars.exceptions.PolarsError):  # some fail; here it is only looked at how long rows become
            continue
        check(call, name)


def test_every_function_that_makes_texts_has_a_bound() -> None:
    """A further one that is allowed needs its own: without, any text that it makes is too long."""
    known = {*flow_sizes._MAKERS, *flow_sizes.GIVES_ONE, *flow_sizes.KEEPS, *flow_sizes._WRITES}
    texts = {t.STRING, t.list_of(t.STRING)}
    for name in sorted(TOTAL | FORMATS):
        function = find(name)
        if function is None or name in known:
            continue
        for seed in range(20):
            try:
                call = random_call(Random(seed), function, Facts().schema)
            except BindError:
                continue
            bound = bind(Select(Scan("t"), (Alias(call, "z"),)), {"t": Facts()})
            assert bound.schema["z"] not in texts, name


def test_chains_stay_within_their_bounds() -> None:
    rng = Random(1)
    steps = [
        lambda e: e.str.to_uppercase(), lambda e: e.str.to_lowercase(), lambda e: e.str.normalize("NFKD"), lambda e: e.str.normalize("NFC"),
        lambda e: e.str.reverse(), lambda e: e + other, lambda e: e.str.replace_all("[AaI]", "ΐ"), lambda e: e.str.replace_all("", "ß"),
        lambda e: e.str.replace_all("(.)", "$1$1"), lambda e: pl.format("{}/{}", e, e), lambda e: e.str.pad_end(9, "ﷺ"),
        lambda e: e.str.split("a").list.join("ŉ"), lambda e: e.str.to_titlecase(), lambda e: e.str.replace_many(["a", "i"], ["ㅁ", "İ"]),
    ]  # fmt: skip
    for _ in range(150):
        expr = s
        chain = [rng.randrange(len(steps)) for _ in range(4)]
        for step in chain:
            expr = steps[step](expr)
        check(expr, chain)


def letters() -> list[str]:
    """Return the characters that some change makes others of."""
    every = (chr(i) for i in range(0x30000) if not 0xD800 <= i < 0xE000 and not 0xAC00 <= i < 0xD7A4)
    return [c for c in every if any(change(c) != c for change in flow_sizes._CHANGES)]


def test_changes_of_letters_add_nothing_to_a_weight() -> None:
    found = letters()
    assert len(found) > 5000
    chars = polars.Series(found)
    weights = [weight(c) for c in found]
    assert max(w / len(c.encode()) for c, w in zip(found, weights, strict=True)) == LETTERS
    forms = [chars.str.normalize(form) for form in ("NFC", "NFD", "NFKC", "NFKD")]  # type: ignore[arg-type]
    for changed in (chars.str.to_uppercase(), chars.str.to_lowercase(), chars.str.to_titlecase(), *forms):
        heavier = [c for c, d, w in zip(found, changed, weights, strict=True) if not len(d.encode()) <= weight(d) <= w]
        assert heavier == []
    # letters that a normal form puts together weigh no more than apart
    for char in found:
        apart = unicodedata.normalize("NFD", char)
        if apart != char and unicodedata.normalize("NFC", apart) == char:
            assert weight(char) <= weight(apart), hex(ord(char))


@pytest.mark.parametrize(
    ("pattern", "least"),
    [("", 0), ("a*", 0), ("a|", 0), ("$", 0), ("^", 0), (r"\b", 0), ("()", 0), ("a?", 0), ("a{0}", 0), ("[a", 0), ("(?x) a", 0), (r"\\(", 0),
     ("a", 1), ("^rare$", 4), (r"\s+", 1), (r"(\d{4})-(\d{2})", 3), ("[^a-z ]", 1), ("(?i)straße", 6), (r"\.", 1), ("a{2,3}b", 2)],
)  # fmt: skip
def test_how_much_a_pattern_takes_at_least(pattern: str, least: int) -> None:
    assert shortest_match(pattern, literal=False) == least


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [("", 0, 0), ("rare", 4, 4), (r"^\d{4}-\d{2}-\d{2}$", 44, 60), ("(?:a?){50000}", 50_000, 400_000), ("(?:a{300})?{300}", 90_000, 200_000), ("a{300}?{300}", 90_000, 200_000),
     ("{" + "9" * 5000 + "}", 0, float("inf")), ("a{" + "9" * 5000 + "}", float("inf"), float("inf")), ("((a{100}){100}){2}", 20_000, 90_000),
     ("[{5000}]", 1, 2), ("[]{5}]", 1, 2), ("[[:alpha:]{9}]{3}", 3, 5), (r"\p{Letter}{3}", 150, 250), (r"[\w-]{10}", 500, 600), (r"\w+@\w+\.\w+", 150, 170), (r"\{5000", 5, 9), ("a{5000,}", 5_000, 6_000),
     ("a{3}{1000}{10}", 30_000, 60_000), ("flu|cold", 8, 9), ("(?x) (?: (?:a?){300} # )(\n ){300}", float("inf"), float("inf")),
     ("[a", float("inf"), float("inf")), ("a)", float("inf"), float("inf")), (r"[\]{500}]", 1, 2), (r"\[{500}", 500, 510)],
)  # fmt: skip
def test_the_states_of_a_pattern(pattern: str, least: float, most: float) -> None:
    assert least <= steps_of(pattern) <= most


def blow(text: Any, pattern: str, levels: int = 3) -> Any:
    """A text that is a terabyte where the pattern is met, and itself elsewhere."""
    made = text.str.replace_all(pattern, "Ω" * 1000)
    for one, two in pairwise("ΩΨΔΘ"[: levels + 1]):
        made = made.str.replace_all(one, two * 1000, literal=True)
    return made


def world(policy: Policy) -> World:
    rows = polars.DataFrame(
        {"id": range(60), "dis": ["flu", "cold"] * 29 + ["rare", "flu"], "pay": [float(i) for i in range(60)]}
    )
    return World().add("t", rows, policy, {"id": "identifier", "dis": "quasi", "pay": "measure"}, "id")


POLICIES = {
    "default": Policy(Aggregation(10), Review(), unit="id"),
    "rejects": Policy(Aggregation(10), Reject(), unit="id"),
    "suppresses": Policy(Aggregation(10), Suppress(), unit="id"),
    "strict": Policy.strict("id"),
    "private": Policy.private(1.0, unit="id"),
}
dis, pay = pl.col("dis"), pl.col("pay")


def steps(times: int) -> Q:
    rows = T
    for _ in range(times):
        rows = rows.with_columns(dis=dis + dis)
    return rows


LABELS = Inline(
    (InlineColumn("dis", DType("String"), ("rare", "flu")), InlineColumn("long", DType("String"), ("P" * 5000, "x")))
)

ATTACKS: dict[str, Q] = {
    "the diagnosis": T.select((blow(dis, "^rare$") == "x").mean()),
    "a condition": T.filter(blow(dis, "^rare$") != "x").select(pl.len()),
    "the pay": T.select((blow(pay.is_between(57.5, 58.5).cast(pl.String), "^true$") == "x").mean()),
    "a key": T.group_by(blow(dis, "^rare$")).agg(pl.len()),
    "one step": T.select((dis.str.replace_all("rare", "P" * 5000) == "x").mean()),
    "doubled in steps": steps(30).filter(dis != "x").select(pl.len()),
    "doubled": T.filter((x8 := (x4 := dis + dis + dis + dis) + x4 + x4 + x4) + x8 + x8 != "x").select(pl.len()),
    "a choice": T.filter(pl.when(dis == "rare").then(pl.lit("P" * 5000)).otherwise(dis) != "x").select(pl.len()),
    "a choice of texts in a step": T.with_columns(z=pl.lit("P" * 5000)).filter(pl.when(dis == "rare").then(pl.col("z")).otherwise(dis) != "x")
    .select(pl.len()),
    "padded": T.filter(dis.str.pad_end(3_000_000_000) != "x").select(pl.len()),
    "filled with zeros": T.filter(dis.str.zfill(3_000_000_000) != "x").select(pl.len()),
    "copies of the match": T.filter(dis.str.replace_all("^(rare)$", "$1" * 400) != "x").select(pl.len()),
    "a pattern of nothing": T.filter(dis.str.replace_all("", "P" * 400) != "x").select(pl.len()),
    "many": T.filter(dis.str.replace_many(["r", "a"], ["P" * 400, "Q"]) != "x").select(pl.len()),
    "parts joined again": T.filter(dis.str.split("r").list.join("P" * 400) != "x").select(pl.len()),
    "a format": T.filter(pl.format("{}" * 40, *[dis] * 40) != "x").select(pl.len()),
    "the first there is": T.filter(pl.coalesce(dis, pl.lit("P" * 5000)) != "x").select(pl.len()),
    "another name": T.filter(dis.replace("rare", "P" * 5000) != "x").select(pl.len()),
    "per person": T.group_by("id").agg(z=blow(dis, "^rare$").min()).select((pl.col("z") == "x").mean()),
    "a window": T.with_columns(z=blow(dis, "^rare$").first().over("id")).filter(pl.col("z") != "x").select(pl.len()),
    "a pattern that takes long": T.filter(pl.when(dis == "rare").then(pl.lit("a" * 900)).otherwise(dis).str.contains("(?:a?){50000}[bc]"))
    .select(pl.len()),
    "many patterns": T.select(*[(dis.str.contains("(?:a?){300}[bc]")).mean().alias(str(i)) for i in range(9)]),
    "a pattern made of others": T.filter(dis.str.contains(pl.format("{}{}", pl.lit("(?:a?)"), pl.lit("{50000}")))).select(pl.len()),
    "long labels": T.join(Q(LABELS), on="dis", how="left").filter(pl.col("long").str.contains("P$")).select(pl.len()),
    "a long constant of who is left": T.filter(pay > 58).with_columns(z=pl.lit("P" * 5000)).filter(pl.col("z") != "x").select(pl.len()),
    "labels joined": T.join(Q(LABELS), on="dis", how="left").filter(pl.col("long") + pl.col("long") != "x").select(pl.len()),
}  # fmt: skip


@pytest.mark.parametrize("profile", POLICIES)
@pytest.mark.parametrize("name", ATTACKS)
def test_a_text_that_grows_is_not_looked_at(name: str, profile: str) -> None:
    """INVARIANT: nothing of it is measured: it would fail, or not, before the judge says anything."""
    asked = ATTACKS[name].plan
    served = world(POLICIES[profile])
    verdict = served.static(asked)
    if profile == "private":
        assert verdict.outcome is not Outcome.RELEASE
        return
    told = [f.reason for f in verdict.findings if f.rule == "row-level"]
    assert any("as long as what is stored" in reason or "Patterns of the plan" in reason for reason in told), name
    judged = served.ask(asked)
    assert judged.verdict.outcome is not Outcome.RELEASE
    assert judged.table is None
    assert judged.measures == []


LISTS: dict[str, Any] = {
    "a range for each row": pl.int_ranges(0, pay.cast(pl.Int64) * 1_000_000_000).list.len(),
    "repeated as often": dis.repeat_by(pay.cast(pl.Int64) * 1_000_000_000).list.len(),
    "padded lists": dis.str.split("").list.gather([0] * 5000, null_on_oob=True).list.len(),
    "put together": pl.concat_list(dis, dis).list.len(),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_a_row_are_no_longer_than_it(name: str) -> None:
    """INVARIANT: functions that make longer lists are not of those that rows are given to."""
    judged = world(POLICIES["default"]).ask(T.filter(LISTS[name] > 3).select(pl.len()).plan)
    assert judged.table is None
    assert judged.measures == []


HONEST: dict[str, Q] = {
    "cleaned": T.group_by(dis.str.strip_chars().str.to_lowercase().str.normalize("NFKC").str.replace_all(r"\s+", " ")).agg(pl.len()),
    "letters told apart": T.group_by(
        dis.str.replace_all("ä", "ae").str.replace_all("ö", "oe").str.replace_all("ü", "ue").str.replace_all("ß", "ss").str.to_uppercase()
    ).agg(pl.len()),
    "without what is no letter": T.group_by(dis.str.to_lowercase().str.replace_all("[^a-z ]", "").str.replace_all(" +", "_")).agg(pl.len()),
    "renamed": T.group_by(dis.replace(["flu", "cold"], ["influenza and the like", "a cold"])).agg(pl.len()),
    "parts of a date": T.filter(dis.str.contains(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?$")).select(pl.len()),
    "any of many": T.filter(dis.str.contains("|".join(["flu", "cold", "asthma", "diabetes"] * 20))).select(pl.len()),
    "put in a sentence": T.group_by(pl.format("has {}, and that is all", dis)).agg(pl.len()),
    "padded": T.group_by(dis.str.pad_end(20)).agg(pl.len()),
    "a choice": T.group_by(pl.when(dis == "flu").then(pl.lit("flu")).otherwise(pl.lit("another"))).agg(pl.len()),
    "released texts may grow": T.group_by("dis").agg(pl.len()).with_columns(z=pl.col("dis").str.pad_end(5000)),
    "a long list": T.filter(dis.is_in([f"a disease of the name {i}" for i in range(500)] + ["flu"])).select(pl.len()),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_what_people_do_with_texts_goes_on(name: str) -> None:
    verdict = world(POLICIES["default"]).static(HONEST[name].plan)
    assert verdict.outcome is Outcome.RELEASE, verdict.findings


def test_the_bounds_are_told_with_the_reason_and_what_to_do() -> None:
    verdict = world(POLICIES["default"]).static(ATTACKS["the diagnosis"].plan)
    (found,) = [f for f in verdict.findings if f.rule == "row-level"]
    assert f"{MOST_TIMES} times" in found.reason
    assert f"{MOST_BYTES:,} bytes" in found.reason
    assert "str.replace_all()" in found.reason
    assert found.fix.startswith("Replace by shorter texts")


def test_an_owner_who_put_no_guard_has_none() -> None:
    rows = world(POLICIES["default"]).with_policy(Policy.open())
    grown = T.select((dis.str.replace_all("rare", "P" * 5000) == "x").mean())
    assert rows.ask(grown.plan).verdict.outcome is Outcome.RELEASE
    logged = world(POLICIES["default"]).with_policy(Policy(Aggregation(10), Log(), unit="id"))
    assert logged.ask(grown.plan).verdict.findings
