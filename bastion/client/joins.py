"""Frame methods over two frames: joins, and frames put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bastion_plan import expressions as px
from bastion_plan import nodes as n
from bastion_plan.errors import InputError

from bastion.client.base import FrameBase
from bastion.expr.core import all_of, duration_text, plans

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame

_OLD_HOW = {"outer": "full", "outer_coalesce": "full", "leftsemi": "semi", "leftanti": "anti"}


class Joins(FrameBase):
    """join, join_asof, join_where, update, merge_sorted, vstack, hstack, concat."""

    def join(
        self,
        other: Any,
        on: Any = None,
        how: str = "inner",
        *,
        left_on: Any = None,
        right_on: Any = None,
        suffix: str = "_right",
        validate: str = "m:m",
        nulls_equal: bool = False,
        coalesce: bool | None = None,
        maintain_order: str | None = None,
        **_options: Any,
    ) -> RemoteLazyFrame:
        """Join another frame, or a small table of one's own. how: inner, left, right, full, semi, anti, cross."""
        if "join_nulls" in _options:
            nulls_equal = bool(_options["join_nulls"])
        if how == "outer_coalesce":
            coalesce = True
        how = _OLD_HOW.get(how, how)
        left, right = _keys(on, left_on, right_on, cross=how == "cross")
        return self._then(
            n.Join(
                self.plan,
                self._other(other),
                how,
                left,
                right,
                suffix,
                validate,
                bool(nulls_equal),
                coalesce,
                maintain_order or "none",
            )
        )

    def join_asof(
        self,
        other: Any,
        *,
        left_on: Any = None,
        right_on: Any = None,
        on: Any = None,
        by_left: Any = None,
        by_right: Any = None,
        by: Any = None,
        strategy: str = "backward",
        suffix: str = "_right",
        tolerance: Any = None,
        allow_exact_matches: bool = True,
        coalesce: bool = True,
        **_options: Any,
    ) -> RemoteLazyFrame:
        """Join the nearest key of another sorted frame."""
        left, right = _keys(on, left_on, right_on, cross=False)
        if len(left) != 1 or len(right) != 1:
            msg = "join_asof takes one key."
            raise InputError(msg, code="input.arguments", next_step="Put the others into by=.")
        return self._then(
            n.JoinAsof(
                self.plan,
                self._other(other),
                left[0],
                right[0],
                _names(by if by_left is None else by_left),
                _names(by if by_right is None else by_right),
                strategy,
                suffix,
                duration_text(tolerance),
                bool(allow_exact_matches),
                bool(coalesce),
            )
        )

    def join_where(self, other: Any, *predicates: Any, how: str = "inner", suffix: str = "_right") -> RemoteLazyFrame:
        """Join the rows of two frames for which all conditions are true; columns of `other` that both have take the suffix."""
        if how != "inner":
            msg = "join_where keeps the rows for which the conditions are true."
            raise InputError(msg, code="input.arguments", next_step='Use how="inner", or .join(…) on equal keys.')
        pairs = n.Join(self.plan, self._other(other), "cross", (), (), suffix)
        return self._then(n.Filter(pairs, all_of(predicates, {})))

    def update(
        self,
        other: Any,
        on: Any = None,
        how: str = "left",
        *,
        left_on: Any = None,
        right_on: Any = None,
        include_nulls: bool = False,
        **_options: Any,
    ) -> RemoteLazyFrame:
        """Put the values of another frame in place of one's own, where the keys agree and they are not null."""
        if on is None and left_on is None:
            msg = "update needs keys."
            raise InputError(
                msg, code="input.arguments", reason="Without them it goes by the order of rows, which is not public.",
                next_step='Write .update(other, on="key").',
            )  # fmt: skip
        if include_nulls or how not in ("left", "inner", "full"):
            msg = "update takes the values that are not null, with how 'left', 'inner' or 'full'."
            raise InputError(msg, code="input.arguments", next_step="Join, then choose with pl.when.")
        there = self.connection._schema(self._other(other))  # type: ignore[attr-defined]
        left, right = _keys(on, left_on, right_on, cross=False)
        keys = {k.name for k in (*left, *right) if isinstance(k, px.Column)}
        mine = list(self.plan_schema)
        suffix = "_updated"
        while any(f"{name}{suffix}" in {*mine, *there} for name in mine):
            suffix += "_"
        joined = n.Join(self.plan, self._other(other), how, left, right, suffix, coalesce=True)
        new = [
            px.Alias(px.Call("pl.coalesce", (px.Column(f"{name}{suffix}"), px.Column(name))), name)
            if name in there and name not in keys
            else px.Column(name)
            for name in mine
        ]
        return self._then(n.Select(joined, tuple(new)))

    def merge_sorted(self, other: Any, key: Any, **_options: Any) -> RemoteLazyFrame:
        """Put the rows of two frames together in the order of a key."""
        both = n.Concat((self.plan, self._other(other)), "vertical")
        return self._then(n.Sort(both, plans([key]), (False,), (False,), True))

    def vstack(self, other: Any) -> RemoteLazyFrame:
        """Put the rows of another frame below."""
        return self._then(n.Concat((self.plan, self._other(other)), "vertical"))

    extend = vstack

    def hstack(self, other: Any) -> RemoteLazyFrame:
        """Put the columns of another frame of the same height beside."""
        return self._then(n.Concat((self.plan, self._other(other)), "horizontal"))

    def concat(self, *others: Any, how: str = "vertical") -> RemoteLazyFrame:
        """Put other frames below ("vertical", "diagonal") or beside ("horizontal")."""
        items = [o for other in others for o in (other if isinstance(other, list | tuple) else [other])]
        return self._then(n.Concat((self.plan, *(self._other(o) for o in items)), how))


def _keys(
    on: Any, left_on: Any, right_on: Any, *, cross: bool
) -> tuple[tuple[px.AnyExpr, ...], tuple[px.AnyExpr, ...]]:
    if on is not None and (left_on is not None or right_on is not None):
        msg = "A join takes `on`, or `left_on` and `right_on`."
        raise InputError(msg, code="input.arguments")
    if on is not None:
        keys = plans([on])
        return keys, keys
    if left_on is None and right_on is None:
        if cross:
            return (), ()
        msg = "A join needs keys."
        raise InputError(msg, code="input.arguments", next_step='Write on="key", or left_on="a", right_on="b".')
    if left_on is None or right_on is None:
        msg = "A join needs both left_on and right_on."
        raise InputError(msg, code="input.arguments")
    return plans([left_on]), plans([right_on])


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    names = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(name, str) for name in names):
        msg = "`by` takes column names."
        raise InputError(msg, code="input.arguments")
    return names
