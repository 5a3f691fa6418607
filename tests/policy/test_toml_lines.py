"""The line of every key of a TOML text, whatever way it is written."""

import tomllib

import pytest
import tomli_w
from bastion_plan.errors import PolicyError
from bastion_policy.model import Policy, from_toml, to_toml
from bastion_policy.toml import with_line, without_line
from bastion_policy.toml_lines import key_lines, line_of
from hypothesis import given
from hypothesis import strategies as st
from policy_strategies import policies

TEXT = '''# a comment with [brackets] = "and" {more}
unit = "row"   # unit = "no"
weaken = [
  "dominance",  # ] not the end

  "history",
]
"quoted # key" = """
many = 1
lines = 2 \\""" """
'single' = \'\'\'
[x]
\'\'\'
a.b . "c.d" = { e = 1, f = { g = [1, 2, { h = "}" }] } }

[safe_zone]
at_least = 1
of = [
  { user_id = "carol" },
  { aggregation = 25, dominance = 0.1 },
]


[[many.rows]]
x = 1
[[many.rows]]
x = 2
[many.rows.inner]
y = 1979-05-27T07:32:00Z
'''
LINES = {
    "unit": 2, "weaken": 3, "weaken[0]": 4, "weaken[1]": 6, "quoted # key": 8, "single": 11, "a.b": 14, "a.b.c.d.e": 14,
    "a.b.c.d.f.g[2].h": 14, "safe_zone": 16, "safe_zone.at_least": 17, "safe_zone.of": 18, "safe_zone.of[0].user_id": 19,
    "safe_zone.of[1]": 20, "safe_zone.of[1].aggregation": 20, "safe_zone.of[1].dominance": 20, "many.rows": 24,
    "many.rows[0].x": 25, "many.rows[1].x": 27, "many.rows[1].inner.y": 29,
}  # fmt: skip


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_way_to_write_a_key(newline):
    tomllib.loads(TEXT)
    found = key_lines(TEXT.replace("\n", newline))
    assert {path: found.get(path) for path in LINES} == LINES
    assert "x" not in found and "many" in found


def test_the_nearest_key():
    assert line_of(TEXT, "safe_zone.of[1].rounding") is None
    assert line_of(TEXT, "safe_zone.of[1].rounding", nearest=True) == 20
    assert line_of(TEXT, "safe_zone.of[7].rounding", nearest=True) == 18
    assert line_of(TEXT, "nowhere", nearest=True) is None


values = st.recursive(
    st.text(max_size=4) | st.integers(-9, 9) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def paths(value, path=""):
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from paths(inner, f"{path}[{i}]")


keyed = st.dictionaries(st.text("ab\"'# =[]{}\n\\é", min_size=1, max_size=4), values, max_size=4)


@given(keyed)
def test_every_key_of_any_text_is_found(table):
    text = tomli_w.dumps(table)
    found = key_lines(text)
    expected = set(paths(tomllib.loads(text)))
    # an empty key at the top has the path of the whole text
    assert expected - {""} <= set(found) | {""}
    assert set(found) - expected <= {""}


@given(policies())
def test_each_key_is_on_the_line_said(policy):
    text = to_toml(policy)
    for name in ("savable", "unsafe"):
        assert text.splitlines()[key_lines(text)[name] - 1].startswith(name)


def test_a_line_is_put_in_and_taken_away():
    text = 'unsafe = "review"\nsafe_zone = { aggregation = 10 }\n[roles]\n\nage = "quasi"\n'
    policy = from_toml(text)
    with pytest.raises(PolicyError) as caught:
        policy.check_columns(["years"])
    error = with_line(caught.value, text)
    assert error.message == "Line 5 of policy.toml: roles.age: the table has no column 'age'."
    assert error.details == {"path": "roles.age", "line": 5}
    assert without_line(error).message == caught.value.message
    assert without_line(error).details == caught.value.details
    # what stands in no text has no line
    with pytest.raises(PolicyError) as caught:
        policy.with_hidden(["nam"]).check_columns(["age"])
    assert with_line(caught.value, text) is caught.value


def test_a_python_policy_has_no_line():
    with pytest.raises(PolicyError) as caught:
        Policy.default().with_hidden(["nam"]).check_columns(["name"])
    assert caught.value.message.startswith("roles.nam")
