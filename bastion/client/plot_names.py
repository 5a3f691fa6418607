"""BastionLab's names of plots, with its options: histplot, barplot, boxplot, lineplot, scatterplot, pieplot, facet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bastion_plan.errors import BindError, InputError, did_you_mean

from bastion.client.base import FrameBase

if TYPE_CHECKING:
    from bastion.client.plotting import Plots

#: the names, of frames and (but for facet) of facets
PLOT_NAMES = ("histplot", "barplot", "boxplot", "lineplot", "scatterplot", "pieplot")


def named(name: str) -> Callable[..., Any]:
    """Return a plot of BastionLab as a method of `Plots`."""
    return _METHODS[name]


def _histplot(self: Plots, x: str | None = "count", y: str | None = "count", bins: float = 10, **looks: Any) -> Any:
    """Draw how many rows lie in each bin of x, or of y (sideways), or of both. BastionLab's spelling of `plot.hist`.

    Args:
        x, y: columns; "count" for the one that counts. bins: how wide a bin of x is.
    """
    across, down = (None if v == "count" and v not in self._frame.plan_schema else v for v in (x, y))
    # seaborn's words for what `plot.hist` takes
    if "binrange" in looks:
        looks["range"] = looks.pop("binrange")
    width = looks.pop("binwidth", None) or bins
    discrete = bool(looks.pop("discrete", False))
    if isinstance(width, list | tuple):
        return self.hist(across, down, bins=width, **_axes(self, looks))
    column = across if across is not None else down
    dtype = self._frame.plan_schema.get(column or "")
    if dtype is None or not dtype.is_numeric:
        width = None
    return self.hist(across, down, width=None if discrete else width, discrete=discrete, **_axes(self, looks))


def _barplot(
    self: Plots,
    x: str | None = None,
    y: str | None = None,
    estimator: str = "mean",
    hue: str | None = None,
    **looks: Any,
) -> Any:
    """Draw one number of y for each x; of one column alone, its number over the whole table. BastionLab's spelling of `plot.bar`."""
    if x is None and y is None:
        msg = "A bar plot needs a column."
        raise InputError(msg, code="plot.column", next_step='Write barplot(x="Pclass", y="Survived").')
    if callable(estimator):
        estimator = getattr(estimator, "__name__", "mean")
    if y is None:
        x, y = None, x
    return self.bar(x, y, estimator=estimator, hue=hue, discrete=True, **_axes(self, looks))


def _boxplot(
    self: Plots,
    x: str | None = None,
    y: str | None = None,
    colors: Any = "standard",
    vertical: bool = True,
    **looks: Any,
) -> Any:
    """Draw median, quartiles and safe whiskers of y by x. BastionLab's spelling of `plot.box`."""
    return self.box(x, y, colors=colors, vertical=vertical, **_axes(self, looks))


def _lineplot(self: Plots, x: str, y: str, hue: str | None = None, **looks: Any) -> Any:
    """Draw the mean of y along x. BastionLab's spelling of `plot.line`; size, style and units make lines like hue."""
    for word in ("size", "style", "units"):
        column = looks.pop(word, None)
        hue = hue if hue is not None else column
    return self.line(x, y, hue=hue, **_axes(self, looks))


def _scatterplot(self: Plots, x: str, y: str, **looks: Any) -> Any:
    """Draw x against y. BastionLab's spelling of `plot.scatter`; style colours like hue."""
    hue = looks.pop("hue", None)
    style = looks.pop("style", None)
    return self.scatter(x, y, hue=hue if hue is not None else style, **_axes(self, looks))


def _pieplot(
    self: Plots,
    parts: str,
    title: str | None = None,
    labels: str | list[str] | None = None,
    ax: Any = None,
    fig_kwargs: dict[str, Any] | None = None,
    pie_labels: bool = True,
    key: bool = True,
    **looks: Any,
) -> Any:
    """Draw the shares that the column `parts` of an aggregated frame says. BastionLab's spelling of `plot.pie`.

    Args:
        labels: the column that names the parts, or their names in order. pie_labels, key: whether shares and a key are drawn.
    """
    schema = self._frame.plan_schema
    for column in (parts, labels):
        if isinstance(column, str) and column not in schema:
            msg = "There is no such column."
            raise BindError(msg, code="plan.bind.column", next_step=did_you_mean(column, schema))
    for word in ("key_loc", "key_bbox"):
        looks.pop(word, None)
    if isinstance(fig_kwargs, dict) and "figsize" in fig_kwargs:
        looks["figsize"] = fig_kwargs["figsize"]
    looks = _axes(self, looks | {"ax": ax}) | {"title": title, "pie_labels": pie_labels, "key": key}
    if isinstance(labels, str):
        return self.pie(labels, parts, **looks)
    return self.pie(parts, parts, names=[str(name) for name in labels or ()], **looks)


def _axes(plots: Plots, looks: dict[str, Any]) -> dict[str, Any]:
    """Draw where BastionLab did: into pyplot's axes, if the program uses pyplot. A kernel's cell has none."""
    if looks.get("ax") is None:
        looks.pop("ax", None)
        pyplot = sys.modules.get("matplotlib.pyplot")
        alone = plots._row is None and plots._col is None
        if pyplot is not None and alone and plots._frame.connection._loop is not None:
            looks["ax"] = pyplot.gca()
    return looks


_METHODS: dict[str, Callable[..., Any]] = {
    "histplot": _histplot, "barplot": _barplot, "boxplot": _boxplot, "lineplot": _lineplot, "scatterplot": _scatterplot,
    "pieplot": _pieplot,
}  # fmt: skip
for _name, _method in _METHODS.items():
    _method.__name__ = _name


class PlotNames(FrameBase):
    """BastionLab's plots as methods of a frame."""

    def histplot(self, x: str | None = "count", y: str | None = "count", bins: float = 10, **looks: Any) -> Any:
        """Draw a histogram; `bins` is how wide a bin is. BastionLab's spelling of `plot.hist`."""
        return self.plot.histplot(x, y, bins, **looks)  # type: ignore[attr-defined]

    def barplot(
        self, x: str | None = None, y: str | None = None, estimator: str = "mean", hue: str | None = None, **looks: Any
    ) -> Any:
        """Draw one number of y for each x. BastionLab's spelling of `plot.bar`."""
        return self.plot.barplot(x, y, estimator, hue, **looks)  # type: ignore[attr-defined]

    def boxplot(
        self, x: str | None = None, y: str | None = None, colors: Any = "standard", vertical: bool = True, **looks: Any
    ) -> Any:
        """Draw median, quartiles and safe whiskers of y by x. BastionLab's spelling of `plot.box`."""
        return self.plot.boxplot(x, y, colors, vertical, **looks)  # type: ignore[attr-defined]

    def lineplot(self, x: str, y: str, hue: str | None = None, **looks: Any) -> Any:
        """Draw the mean of y along x. BastionLab's spelling of `plot.line`."""
        return self.plot.lineplot(x, y, hue, **looks)  # type: ignore[attr-defined]

    def scatterplot(self, x: str, y: str, **looks: Any) -> Any:
        """Draw x against y. BastionLab's spelling of `plot.scatter`."""
        return self.plot.scatterplot(x, y, **looks)  # type: ignore[attr-defined]

    def pieplot(self, parts: str, title: str | None = None, labels: Any = None, **looks: Any) -> Any:
        """Draw the shares that the column `parts` of an aggregated frame says. BastionLab's spelling of `plot.pie`."""
        return self.plot.pieplot(parts, title, labels, **looks)  # type: ignore[attr-defined]

    def facet(self, col: str | None = None, row: str | None = None, **looks: Any) -> Any:
        """Return panels, one per value of `col` and `row`: `.histplot`, `.barplot`, `.lineplot`, `.scatterplot` … draw them."""
        return self.plot.facet(row=row, col=col, **looks)  # type: ignore[attr-defined]
