"""Method chains that mean the same on a frame of ours and on a LazyFrame of Polars; and each as the text of a cell."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

#: chains over `f` (people) and `g` (cities), with `p` for Polars: written once, run on both
SAME: dict[str, Callable[[Any, Any, Any], Any]] = {
    "select": lambda f, g, p: f.select("id", p.col("age") * 2, x=p.col("class") + 1),
    "with_columns": lambda f, g, p: f.with_columns(p.col("age").fill_null(0), y=p.lit(1)),
    "drop": lambda f, g, p: f.drop("id", "sex"),
    "drop selector": lambda f, g, p: f.drop(p.selectors.numeric()),
    "rename": lambda f, g, p: f.rename({"id": "ID"}),
    "cast": lambda f, g, p: f.cast({"id": p.Float64, "class": p.String}),
    "cast selector": lambda f, g, p: f.cast({p.selectors.integer(): p.Int8}),
    "cast all": lambda f, g, p: f.select("id", "class").cast(p.Int16),
    "filter": lambda f, g, p: f.filter(p.col("age") > 20, p.col("sex") == "female"),
    "filter by name": lambda f, g, p: f.filter(sex="male"),
    "remove": lambda f, g, p: f.remove(p.col("age") > 20),
    "slice": lambda f, g, p: f.slice(1, 2),
    "head": lambda f, g, p: f.select("id").head(2),
    "limit": lambda f, g, p: f.limit(2),
    "tail": lambda f, g, p: f.tail(2),
    "first": lambda f, g, p: f.first(),
    "last": lambda f, g, p: f.last(),
    "reverse": lambda f, g, p: f.reverse(),
    "unique": lambda f, g, p: f.unique("class", keep="first", maintain_order=True),
    "sort": lambda f, g, p: f.sort("age", descending=True, nulls_last=True),
    "sort two": lambda f, g, p: f.sort("class", "age", descending=[True, False]),
    "top_k": lambda f, g, p: f.top_k(2, by="age").sort("age"),
    "bottom_k": lambda f, g, p: f.bottom_k(2, by="age").sort("age"),
    "drop_nulls": lambda f, g, p: f.drop_nulls(),
    "drop_nulls subset": lambda f, g, p: f.drop_nulls("age"),
    "drop_nans": lambda f, g, p: f.drop_nans(),
    "fill_null": lambda f, g, p: f.select("age", "class").fill_null(0),
    "fill_null strategy": lambda f, g, p: f.fill_null(strategy="forward"),
    "fill_nan": lambda f, g, p: f.select("age").fill_nan(0),
    "with_row_index": lambda f, g, p: f.with_row_index("n", 5),
    "gather_every": lambda f, g, p: f.gather_every(2, 1),
    "group_by agg": lambda f, g, p: f.group_by("class").agg(p.col("age").mean(), n=p.len()).sort("class"),
    "group_by len": lambda f, g, p: f.group_by("class").len().sort("class"),
    "group_by having": lambda f, g, p: f.group_by("class").having(p.col("age").mean() > 20).agg(p.len()).sort("class"),
    "group_by sum": lambda f, g, p: f.select("class", "age").group_by("class").sum().sort("class"),
    "group_by max": lambda f, g, p: f.select("class", "age", "sex").group_by("class").max().sort("class"),
    "group_by n_unique": lambda f, g, p: f.group_by("class").n_unique().sort("class"),
    "group_by first": lambda f, g, p: f.group_by("class", maintain_order=True).first(),
    "group_by mean": lambda f, g, p: f.select("class", "age").group_by("class").mean().sort("class"),
    "group_by median": lambda f, g, p: f.select("class", "age").group_by("class").median().sort("class"),
    "group_by min": lambda f, g, p: f.select("class", "age").group_by("class").min().sort("class"),
    "group_by quantile": lambda f, g, p: f.select("class", "age").group_by("class").quantile(0.25).sort("class"),
    "group_by last": lambda f, g, p: f.group_by("class", maintain_order=True).last(),
    "group_by tail": lambda f, g, p: f.select("class", "id").group_by("class", maintain_order=True).tail(1),
    "group_by head": lambda f, g, p: f.select("class", "id").group_by("class", maintain_order=True).head(1),
    "group_by_dynamic": lambda f, g, p: f.drop_nulls("born").sort("born").group_by_dynamic("born", every="10y").agg(p.len()),
    "rolling": lambda f, g, p: f.sort("id").rolling("id", period="2i").agg(p.col("class").sum()),
    "join": lambda f, g, p: f.join(g, on="class").sort("id"),
    "join left": lambda f, g, p: f.join(g, on="class", how="left").sort("id"),
    "join full": lambda f, g, p: f.join(g, on="class", how="full", coalesce=True).sort("id", "city"),
    "join semi": lambda f, g, p: f.join(g, on="class", how="semi").sort("id"),
    "join anti": lambda f, g, p: f.join(g, left_on="class", right_on="class", how="anti").sort("id"),
    "join cross": lambda f, g, p: f.select("id").join(g, how="cross").sort("id", "city"),
    "join_asof": lambda f, g, p: f.sort("id").join_asof(g.sort("class"), left_on="id", right_on="class"),
    "explode": lambda f, g, p: f.group_by("class", maintain_order=True).agg(p.col("id").implode()).explode("id"),
    "unnest": lambda f, g, p: f.select(p.struct("id", "age").alias("s")).unnest("s"),
    "unpivot": lambda f, g, p: f.unpivot(["id", "class"], index="sex"),
    "pivot": lambda f, g, p: f.pivot("sex", on_columns=["male", "female"], index="class", values="id", aggregate_function="sum").sort("class"),
    "interpolate": lambda f, g, p: f.select("age", "class").interpolate(),
    "shift": lambda f, g, p: f.shift(1),
    "null_count": lambda f, g, p: f.null_count(),
    "count": lambda f, g, p: f.count(),
    "min": lambda f, g, p: f.select("id", "age", "sex").min(),
    "mean": lambda f, g, p: f.select("id", "age").mean(),
    "max": lambda f, g, p: f.select("id", "age", "sex").max(),
    "sum": lambda f, g, p: f.select("id", "age").sum(),
    "median": lambda f, g, p: f.select("id", "age").median(),
    "std": lambda f, g, p: f.select("id", "age").std(),
    "var": lambda f, g, p: f.select("id", "age").var(ddof=0),
    "quantile": lambda f, g, p: f.select("id", "age").quantile(0.5),
    "cache, clone, lazy": lambda f, g, p: f.cache().clone().lazy(),
}  # fmt: skip


class _Polars(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name("pl", node.ctx) if node.id == "p" else node


@cache
def cells() -> dict[str, str]:
    """Return the chains as they are typed into a cell, in which `f` and `g` are datasets."""
    (same,) = [
        node.value
        for node in ast.parse(Path(__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)
    ]
    return {
        str(ast.literal_eval(key)): ast.unparse(_Polars().visit(work.body))
        for key, work in zip(same.keys, same.values, strict=True)
        if key is not None and isinstance(work, ast.Lambda)
    }
