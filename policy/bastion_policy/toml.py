"""Policies as TOML that people read, write and keep in version control."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tomli_w
from bastion_plan.errors import PolicyError, did_you_mean

from bastion_policy.actions import BY_STRICTNESS, Action, action_name
from bastion_policy.caps import Training
from bastion_policy.policy import Policy
from bastion_policy.roles import Role, to_role
from bastion_policy.rules import (
    Aggregation,
    AtLeastNOf,
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
    refuse,
)
from bastion_policy.toml_lines import line_of

#: rules by their key: the class, and the field that may be written without a table (None: `true`)
_RULES: dict[str, tuple[type[Rule], str | None]] = {
    "aggregation": (Aggregation, "min_agg_size"),
    "dominance": (Dominance, "p"),
    "homogeneity": (Homogeneity, None),
    "linear_audit": (LinearAudit, None),
    "saturation": (Saturation, "share"),
    "rounding": (Rounding, None),
    "user_id": (UserId, "id"),
    "differential_privacy": (DifferentialPrivacy, None),
}
#: how a rule is written that needs a number or a name
_WRITTEN = {
    "aggregation": "a whole number, such as aggregation = 10",
    "dominance": "a number or a table, such as dominance = { p = 0.1 }",
    "user_id": 'a name in quotes, such as user_id = "alice"',
    "differential_privacy": "a table with epsilon, such as differential_privacy = { epsilon = 1 }",
}
_CALL = re.compile(rf"\b({'|'.join(kind.__name__ for kind, _ in _RULES.values())})\(([^()]*=[^()]*)\)")
_KEYS: dict[type[Rule], str] = {kind: key for key, (kind, _) in _RULES.items()}
_ACTIONS = {kind.__name__.lower(): kind for kind in BY_STRICTNESS}
_TOP = (
    "safe_zone", "unsafe", "review_zone", "savable", "unit", "unit_domain", "rows_per_unit", "profile", "weaken", "reserved", "roles", "derived",
    "audiences", "training",
)  # fmt: skip
_LINE = re.compile(r"^Line \d+ of policy\.toml: ")
#: how tomllib begins what it says of a key or a table that is there already
_TWO_OF_ONE = re.compile(r"Cannot (overwrite a value|declare|mutate|redefine)|Duplicate inline table key")
_TWICE = "This key or table is there twice: keep one of the two."
_NUMBER_OF_LINE = re.compile(r"\(at line (\d+), column (\d+)\)")


# -- writing


def to_toml(policy: Policy, roles: Mapping[str, Role | str] | None = None) -> str:
    """Return the policy as TOML text; from_toml gives it back.

    roles: roles inferred at upload; those that the policy does not declare are written too, marked for the owner to
    confirm. The text then reads back as the policy with these roles declared.
    """
    lines: list[str] = []
    if policy.unit is not None:
        lines.append(f"unit = {_value(policy.unit)}")
    if policy.unit_domain is not None:
        lines.append(f"unit_domain = {_value(policy.unit_domain)}")
    if policy.rows_per_unit is not None:
        lines.append(f"rows_per_unit = {policy.rows_per_unit}")
    lines.append(f"savable = {_value(policy.savable)}")
    lines.append(f'unsafe = "{action_name(policy.unsafe_handling)}"')
    if policy.profile != "default":
        lines.append(f"profile = {_value(policy.profile)}")
    if policy.weaken:
        lines.append(f"weaken = {_value(policy.weaken)}")
    if policy.reserved:
        lines.append(f"reserved = [{', '.join(_value(keys) for keys in policy.reserved)}]")
    later: list[str] = []
    for name in ("safe_zone", "review_zone"):
        rule = getattr(policy, name)
        if isinstance(rule, TrueRule | FalseRule):
            if name == "safe_zone" or rule != TrueRule():
                lines.append(f"{name} = {_value(isinstance(rule, TrueRule))}")
        else:
            later += ["", f"[{name}]", *(f"{_key(k)} = {v}" for k, v in _rule_items(rule, "").items())]
    if policy.training is not None:
        caps = {name: getattr(policy.training, name) for name in Training.__struct_fields__}
        later += ["", "[training]", *(f"{name} = {value}" for name, value in caps.items() if value is not None)]
    declared = policy.roles or {}
    proposed = {name: to_role(role) for name, role in (roles or {}).items() if name not in declared}
    if declared or proposed:
        later += ["", "[roles]", *(f"{_key(name)} = {_role(role)}" for name, role in declared.items())]
        if proposed:
            later.append("# inferred at upload: confirm or change")
            later += [f"{_key(name)} = {_role(role)}" for name, role in proposed.items()]
    for name in ("derived", "audiences"):
        table = getattr(policy, name)
        if table:
            later += ["", f"[{name}]", *(f"{_key(k)} = {_value(v)}" for k, v in table.items())]
    return "\n".join([*lines, *later]) + "\n"


def roles_text(roles: Mapping[str, Role]) -> str:
    """Return roles as the table of a policy file, one line per column."""
    return "\n".join(["[roles]", *(f"{_key(name)} = {_role(role)}" for name, role in roles.items())])


def _key(name: str) -> str:
    return tomli_w.dumps({name: 0}).removesuffix(" = 0\n")


def _value(value: Any) -> str:
    """Return a scalar, or a list of scalars on one line."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return tomli_w.dumps({"k": value}).removeprefix("k = ").removesuffix("\n")


def _number(value: float) -> str:
    return _value(int(value) if value.is_integer() and abs(value) < 2**53 else value)


def _inline(items: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{_key(k)} = {v}" for k, v in items.items()) + " }"


def _role(role: Role) -> str:
    items = {"role": _value(role.kind.value)}
    if role.lower is not None and role.upper is not None:
        items |= {"lower": _number(role.lower), "upper": _number(role.upper)}
    if role.domain is not None:
        items["domain"] = _value(role.domain)
    if role.varies:
        items["varies"] = _value(True)
    return items["role"] if len(items) == 1 else _inline(items)


def _rule_items(rule: Rule, indent: str) -> dict[str, str]:
    """Return the keys of a rule's table with their values as text."""
    if isinstance(rule, AtLeastNOf):
        kinds = [type(part) for part in rule.of]
        if rule.n == len(kinds) > 1 and len(set(kinds)) == len(kinds) and all(kind in _KEYS for kind in kinds):
            return {key: text for part in rule.of for key, text in _rule_items(part, indent).items()}
        inner = indent + "  "
        parts = "".join(f"{inner}{_rule(part, inner)},\n" for part in rule.of)
        return {"at_least": str(rule.n), "of": f"[\n{parts}{indent}]"}
    key = _KEYS[type(rule)]
    kind, short = _RULES[key]
    fields = {name: getattr(rule, name) for name in kind.__struct_fields__}
    default = dict(zip(kind.__struct_fields__[::-1], kind.__struct_defaults__[::-1], strict=False))
    shown = {name: v for name, v in fields.items() if name not in default or v != default[name]}
    if not shown:
        return {key: "true"}
    if short is not None and set(shown) == {short}:
        return {key: _value(shown[short])}
    return {key: _inline({name: _value(v) for name, v in shown.items()})}


def _rule(rule: Rule, indent: str) -> str:
    if isinstance(rule, TrueRule | FalseRule):
        return _value(isinstance(rule, TrueRule))
    return _inline(_rule_items(rule, indent))


# -- reading


def from_toml(text: str) -> Policy:
    """Return the policy that `text` writes down.

    Raises:
        PolicyError: policy.toml (not TOML), or what is wrong with a key. `details` holds `line`, and `column` or `path`.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _NUMBER_OF_LINE.search(str(error))
        line, column = (int(found[1]), int(found[2])) if found else (text.count("\n") + 1, 1)
        raise PolicyError(
            f"Line {line} of policy.toml, column {column}: this is not TOML.",
            reason=_NUMBER_OF_LINE.sub("", str(error)).strip().rstrip(".") + ".",
            next_step=_TWICE if _TWO_OF_ONE.match(str(error)) else "Strings need quotes, tables are written [name].",
            code="policy.toml",
            details={"line": line, "column": column},
        ) from None
    except RecursionError:
        raise refuse("toml", "The text is nested too deeply.") from None
    try:
        return _policy(table)
    except PolicyError as error:
        raise with_line(error, text, nearest=True) from None


def with_line(error: PolicyError, text: str, *, nearest: bool = False) -> PolicyError:
    """Return the error with the line of the key it is about; as it is, where the text has no such key.

    nearest: of the key around it, then.
    """
    path = error.details.get("path")
    if path is None or "line" in error.details:
        return error
    line = line_of(text, path, nearest=nearest) or (1 if nearest else None)
    if line is None:
        return error
    return PolicyError(
        f"Line {line} of policy.toml: {error.message}", reason=error.reason, next_step=error.next_step, code=error.code,
        details={**error.details, "line": line},
    )  # fmt: skip


def without_line(error: PolicyError) -> PolicyError:
    """Return the error for an owner who wrote no text: the line says nothing to them."""
    message = _LINE.sub("", error.message)
    details = {k: v for k, v in error.details.items() if k != "line"}
    return PolicyError(message, reason=error.reason, next_step=error.next_step, code=error.code, details=details)


def _policy(table: dict[str, Any]) -> Policy:
    _check_keys(table, _TOP, "")
    for name in ("safe_zone", "unsafe"):
        if name not in table:
            example = (
                "[safe_zone], and below it aggregation = 10"
                if name == "safe_zone"
                else 'unsafe = "review" above all tables'
            )
            raise _at("", refuse("toml.missing", f"The policy has no {name}.", next_step=f"Add {example}."))
    fields: dict[str, Any] = {
        k: v for k, v in table.items() if k in ("savable", "unit", "unit_domain", "rows_per_unit", "profile")
    }
    fields["safe_zone"] = _read_rule(table["safe_zone"], "safe_zone")
    if "review_zone" in table:
        fields["review_zone"] = _read_rule(table["review_zone"], "review_zone")
    fields["unsafe_handling"] = _read_action(table["unsafe"])
    if "weaken" in table:
        fields["weaken"] = tuple(_strings(table["weaken"], "weaken"))
    if "reserved" in table:
        if not isinstance(table["reserved"], list):
            raise _wrong("reserved", 'a list of lists of columns, such as [["sex"], ["sex", "class"]]')
        fields["reserved"] = tuple(tuple(_strings(keys, "reserved")) for keys in table["reserved"])
    fields["roles"] = {k: _read_role(v, f"roles.{k}") for k, v in _table(table, "roles").items()}
    for name, value in (derived := _table(table, "derived")).items():
        if not isinstance(value, str):
            raise _wrong(f"derived.{name}", 'arithmetic in quotes, such as "weight / height ** 2"')
    fields["derived"] = derived
    fields["audiences"] = {k: tuple(_strings(v, f"audiences.{k}")) for k, v in _table(table, "audiences").items()}
    if training := _table(table, "training"):
        _check_keys(training, Training.__struct_fields__, "training")
        fields["training"] = Training(**training)
    return Policy(**fields)


def _at(path: str, error: PolicyError, key: str | None = None) -> PolicyError:
    """Return the error with the path of the key it is about. key: of the line to show, where that is not `path`."""
    message = f"{path}: {error.message}" if path else error.message
    details = {"path": path if key is None else key}
    return PolicyError(message, reason=error.reason, next_step=error.next_step, code=error.code, details=details)


def _wrong(path: str, wanted: str) -> PolicyError:
    return _at(path, refuse("toml.type", f"this must be {wanted}."))


@contextmanager
def _path(path: str) -> Iterator[None]:
    try:
        yield
    except PolicyError as error:
        raise (error if "path" in error.details else _at(path, error)) from None


@contextmanager
def _as_toml() -> Iterator[None]:
    """Write what an error advises as it stands in a policy file."""
    try:
        yield
    except PolicyError as error:
        advice = _CALL.sub(_written, error.next_step).replace("FalseRule()", "false").replace("TrueRule()", "true")
        raise PolicyError(
            error.message, reason=error.reason, next_step=advice, code=error.code, details=error.details
        ) from None


def _written(call: re.Match[str]) -> str:
    key = next(key for key, (kind, _) in _RULES.items() if kind.__name__ == call[1])
    short = _RULES[key][1]
    fields = [field.replace("True", "true").split("=") for field in call[2].split(", ")]
    if short is not None and [name for name, _ in fields] == [short]:
        return f"{key} = {fields[0][1]}"
    return f"{key} = {{ {', '.join(f'{name} = {value}' for name, value in fields)} }}"


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], path: str) -> None:
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known) or f"Known here: {', '.join(known)}."
            raise _at(
                path, refuse("toml.key", f"there is no key {key!r} here.", next_step=hint), f"{path}.{key}".lstrip(".")
            )


def _table(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = table.get(name, {})
    if not isinstance(value, dict):
        raise _wrong(name, f"a table, written [{name}]")
    return value


def _strings(value: Any, path: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise _wrong(path, 'a list of strings, such as ["alice", "bob"]')
    return value


def _read_action(value: Any) -> Action:
    if not isinstance(value, str) or value not in _ACTIONS:
        hint = did_you_mean(str(value), _ACTIONS) or f"Use one of {', '.join(_ACTIONS)}."
        raise _at("unsafe", refuse("action", f"there is no action {value!r}.", next_step=hint))
    return _ACTIONS[value]()


def _read_role(value: Any, path: str) -> Role:
    with _path(path):
        if isinstance(value, str):
            return to_role(value)
        if not isinstance(value, dict):
            raise _wrong(path, 'a role name or a table such as { role = "measure", lower = 0, upper = 100 }')
        _check_keys(value, ("role", "lower", "upper", "domain", "varies"), path)
        if "role" not in value:
            raise refuse("toml.missing", 'the table has no key "role".')
        domain = value.get("domain")
        if domain is not None and not isinstance(domain, list):
            raise _wrong(f"{path}.domain", "a list of values")
        kind = to_role(value["role"]).kind
        values = tuple(domain) if domain is not None else None
        return Role(kind, value.get("lower"), value.get("upper"), values, value.get("varies", False))


def _read_rule(value: Any, path: str) -> Rule:
    if value is True:
        return TrueRule()
    if value is False:
        return FalseRule()
    if not isinstance(value, dict) or not value:
        raise _wrong(path, "true, false or a table of rules such as { aggregation = 10 }")
    if "at_least" in value or "of" in value:
        _check_keys(value, ("at_least", "of"), path)
        if len(value) < 2 or not isinstance(value["of"], list):
            raise _wrong(path, 'written with both keys: at_least = 1, of = [{ user_id = "alice" }, …]')
        of = tuple(_read_rule(part, f"{path}.of[{i}]") for i, part in enumerate(value["of"]))
        with _path(f"{path}.at_least"), _as_toml():
            return AtLeastNOf(value["at_least"], of)  # type: ignore[arg-type]
    _check_keys(value, (*_RULES, "at_least", "of"), path)
    parts = tuple(_read_leaf(key, v, f"{path}.{key}") for key, v in value.items())
    return parts[0] if len(parts) == 1 else AtLeastNOf(len(parts), parts)  # type: ignore[arg-type]


def _read_leaf(key: str, value: Any, path: str) -> Rule:
    kind, short = _RULES[key]
    with _path(path), _as_toml():
        if isinstance(value, dict):
            _check_keys(value, kind.__struct_fields__, path)
            required = set(kind.__struct_fields__[: -len(kind.__struct_defaults__) or None])
            for name in sorted(required - set(value)):
                raise refuse("toml.missing", f"the table has no key {name!r}.")
            return kind(**value)
        if value is True and key in ("homogeneity", "linear_audit", "saturation", "rounding"):
            return kind()
        if short is None or isinstance(value, bool):
            raise _wrong(path, _WRITTEN.get(key, "true or a table"))
        return kind(**{short: value})
