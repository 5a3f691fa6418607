"""`frame.plot`: plots drawn from guarded aggregates, each from one query. The rows never leave the server."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from bastion_plan.errors import InputError

from bastion.client import plot_verbs as verbs
from bastion.client.habits import PLOT_CALL, other_plot
from bastion.client.plot_names import PLOT_NAMES, PlotNames
from bastion.client.plot_options import Options, options
from bastion.expr.core import no_member

if TYPE_CHECKING:
    from bastion.client.frames import RemoteLazyFrame
    from bastion.render.charts import Chart

#: the verbs that draw
PLOTS = ("hist", "bar", "box", "line", "scatter", "pie", "heatmap", "corr")
Edges = int | Sequence[float] | None
Ends = tuple[float, float] | None


class Plots:
    """The verbs of a plot, for `frame.plot` and for its panels (`facet`).

    Every verb takes words for the looks: title, xlabel, ylabel, color, palette, cmap, size=(440, 260), legend, alpha …, and
    outside of the kernel `ax`, matplotlib axes to draw into. Where bins are chosen: bins (how many, on round numbers within
    the bounds that the owner declared, or edges), range (in place of such bounds), width (of each bin), every (of dates:
    "1d", "1w", "1mo", "1q", "1y"), discrete (every value by itself). Later plots of a column have the same bins.
    """

    def __init__(
        self,
        frame: RemoteLazyFrame,
        row: str | None = None,
        col: str | None = None,
        looks: dict[str, Any] | None = None,
    ) -> None:
        self._frame = frame
        self._row, self._col, self._looks = row, col, looks or {}

    def _drawn(self, work: Coroutine[Any, Any, Chart], looks: Options) -> Any:
        return self._frame.connection._run(looks.finished(work, self._frame.connection))

    def _options(self, looks: dict[str, Any]) -> Options:
        return options(self._looks | looks, row=self._row, col=self._col)

    def hist(
        self,
        x: str | None = None,
        y: str | None = None,
        *,
        hue: str | None = None,
        bins: Edges = None,
        range: Ends = None,
        width: float | None = None,
        every: str | None = None,
        discrete: bool = False,
        **looks: Any,
    ) -> Any:
        """Draw how many rows lie in each bin; with x and y, in each cell of both. Returns a `Chart`.

        Args:
            x, y: columns of numbers, dates or categories. y alone turns the bars sideways. hue: a column that colours.
            bins, range, width, every, discrete: where the bins are (see `frame.plot`). looks: title, color, palette …

        Raises:
            InputError: plot.bins, bins cannot be chosen from public facts; plot.axis, the policy forbids that axis.
            Denied: nothing of it may leave.
        """
        given = self._options(looks)
        said = verbs.wish(bins, range, width, every, discrete)
        return self._drawn(verbs.hist(self._frame, x, y, hue, said, given), given)

    def bar(
        self,
        x: str | None = None,
        y: str | None = None,
        *,
        estimator: str = "mean",
        hue: str | None = None,
        bins: Edges = None,
        range: Ends = None,
        width: float | None = None,
        every: str | None = None,
        discrete: bool = False,
        **looks: Any,
    ) -> Any:
        """Draw one number per group: of y by x, or how many rows there are of each x. Returns a `Chart`.

        Args:
            x: what makes groups; left out, the number is of the whole table. y: the column of the number.
            estimator: mean, median, count, min, max, std, var, sum or n_unique. Where people are guarded, a median, min or
                max is the middle of a stretch that holds enough of them. hue: a column that puts bars side by side.
        """
        given = self._options(looks)
        said = verbs.wish(bins, range, width, every, discrete)
        return self._drawn(verbs.bar(self._frame, x, y, estimator, hue, said, given), given)

    def box(self, x: str | None = None, y: str | None = None, *, hue: str | None = None, **looks: Any) -> Any:
        """Draw median, quartiles and whiskers of y by x. Returns a `Chart`.

        The whiskers are at 5% and 95%, and nobody is drawn beyond them: an extreme value would be one person's.

        Args:
            x: what makes groups; left out (or y), the box is of the whole table. y: a column of numbers.
            hue: a column that puts boxes side by side. looks: vertical=False turns them.
        """
        given = self._options(looks)
        return self._drawn(verbs.box(self._frame, x, y, hue, given), given)

    def line(
        self,
        x: str,
        y: str | None = None,
        *,
        hue: str | None = None,
        estimator: str = "mean",
        bins: Edges = None,
        range: Ends = None,
        width: float | None = None,
        every: str | None = None,
        discrete: bool = False,
        **looks: Any,
    ) -> Any:
        """Draw a number along x: of y, or how many rows there are. Returns a `Chart`.

        Args:
            x: a column of dates, numbers or categories. y: the column of the number. hue: a column that makes lines.
            estimator: as of `bar`. every: how long the steps of dates are, months by default.
        """
        given = self._options(looks)
        said = verbs.wish(bins, range, width, every, discrete)
        return self._drawn(verbs.line(self._frame, x, y, estimator, hue, said, given), given)

    def scatter(
        self,
        x: str,
        y: str,
        *,
        hue: str | None = None,
        bins: Edges = None,
        range: Ends = None,
        width: float | None = None,
        **looks: Any,
    ) -> Any:
        """Draw x against y: each row where the policy lets rows be seen, else bubbles as large as cells hold rows.

        Args:
            x, y: columns of numbers. hue: a column that colours. bins, range, width: of both; what a column had in an
                earlier plot stays where nothing is said.
        """
        given = self._options(looks)
        return self._drawn(verbs.scatter(self._frame, x, y, hue, verbs.wish(bins, range, width), given), given)

    def pie(self, x: str, y: str | None = None, *, estimator: str = "sum", **looks: Any) -> Any:
        """Draw the share of each category of x: of the rows, or of what y adds up to. Returns a `Chart`.

        Small groups are one slice, "(other)".
        """
        given = self._options(looks)
        return self._drawn(verbs.pie(self._frame, x, y, estimator, given), given)

    def heatmap(
        self,
        x: str,
        y: str,
        value: str | None = None,
        *,
        estimator: str = "mean",
        bins: Edges = None,
        range: Ends = None,
        width: float | None = None,
        every: str | None = None,
        discrete: bool = False,
        **looks: Any,
    ) -> Any:
        """Draw a number of each cell of x and y: of the column `value`, or how many rows there are. Returns a `Chart`."""
        given = self._options(looks)
        said = verbs.wish(bins, range, width, every, discrete)
        return self._drawn(verbs.heatmap(self._frame, x, y, value, estimator, said, given), given)

    def corr(self, *columns: str, **looks: Any) -> Any:
        """Draw how strongly columns of numbers go together, pair by pair, from -1 to 1. Returns a `Chart`.

        Args:
            columns: two or more of them; left out, all columns of numbers that may be used.
        """
        given = self._options(looks)
        return self._drawn(verbs.corr(self._frame, columns, given), given)

    # BastionLab's names, of frames and of facets
    histplot = verbs.named("histplot")
    barplot = verbs.named("barplot")
    boxplot = verbs.named("boxplot")
    lineplot = verbs.named("lineplot")
    scatterplot = verbs.named("scatterplot")
    pieplot = verbs.named("pieplot")

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse `frame.plot(x=…, y=…)`, as pandas writes it."""
        msg = "A plot says which one it is."
        raise InputError(msg, code="plot.verb", next_step=PLOT_CALL)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise no_member("A plot", name, (*PLOTS, "facet"), step=other_plot(name))

    def __repr__(self) -> str:
        return f"panels by {' and '.join(n for n in (self._row, self._col) if n)}: {', '.join(PLOTS)}"


class PlotAccessor(Plots):
    """Plots of a frame, drawn from aggregates that the guard lets go; each is one query."""

    def facet(self, row: str | None = None, col: str | None = None, **looks: Any) -> Plots:
        """Return the same verbs for panels: one per value of `row` and `col`, still one query.

        >>> frame.plot.facet(row="Sex", col="Pclass").hist("Age", width=10)     # doctest: +SKIP
        """
        if row is None and col is None:
            msg = "A facet needs a column."
            raise InputError(msg, code="plot.column", next_step='Write plot.facet(col="Sex").hist("Age").')
        for name in (row, col):
            if name is not None:
                verbs.key_of(self._frame, name, verbs.Wish(), panels=True)
        return Plots(self._frame, row, col, looks)

    def __repr__(self) -> str:
        return f"plot: {', '.join(PLOTS)}, and facet(row=, col=) for panels"


__all__ = ["PLOTS", "PLOT_NAMES", "PlotAccessor", "PlotNames", "Plots"]
