"""Colours of charts: palettes by name, and what counts as a colour.

A colour goes into a page as an attribute, so it is a name of CSS or #rrggbb and never any other text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bastion_plan.errors import InputError, did_you_mean

#: blue, orange, teal … told apart also by people who do not see all colours
DEFAULT = ("#3b6fb6", "#e8833a", "#3a9d8f", "#c9517a", "#8067b7", "#b59a2e", "#6b7f94", "#7a4b2e", "#57a639", "#45b5d9")
FEW, FEW_LINE, INK, PALE = "#d5d9df", "#a9b0bb", "#2b3440", "#eceef1"

#: names of palettes of separate colours: our own, BastionLab's, seaborn's and matplotlib's
PALETTES: dict[str, tuple[str, ...]] = {
    "default": DEFAULT,
    "standard": DEFAULT,
    "light": ("#9ec5ee", "#fbc99d", "#a3dccf", "#f0b3c8", "#cdbfe9", "#e9dd9b", "#c6cfd9", "#cfae97"),
    "dark": ("#1f4e8c", "#a8521a", "#1f6f62", "#8f2d52", "#4f3a86", "#7c6712", "#3f4f60", "#4d2d1a"),
    "mithril": ("#f7ba3e", "#17243a", "#5b8def", "#e7663f", "#7f8fa6", "#2fae9b"),
    "ocean": ("#0b3c5d", "#1d6a96", "#3f9bc1", "#85cdca", "#283b42", "#5fb0b7"),
    "tab10": ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"),
    "deep": ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd"),
    "muted": ("#4878d0", "#ee854a", "#6acc64", "#d65f5f", "#956cb4", "#8c613c", "#dc7ec0", "#797979", "#d5bb67", "#82c6e2"),
    "pastel": ("#a1c9f4", "#ffb482", "#8de5a1", "#ff9f9b", "#d0bbff", "#debb9b", "#fab0e4", "#cfcfcf", "#fffea3", "#b9f2f0"),
    "bright": ("#023eff", "#ff7c00", "#1ac938", "#e8000b", "#8b2be2", "#9f4800", "#f14cc1", "#a3a3a3", "#ffc400", "#00d7ff"),
    "colorblind": ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
    "set1": ("#e41a1c", "#377eb8", "#4daf4a", "#984ea3", "#ff7f00", "#ffff33", "#a65628", "#f781bf", "#999999"),
    "set2": ("#66c2a5", "#fc8d62", "#8da0cb", "#e78ac3", "#a6d854", "#ffd92f", "#e5c494", "#b3b3b3"),
    "set3": ("#8dd3c7", "#ffffb3", "#bebada", "#fb8072", "#80b1d3", "#fdb462", "#b3de69", "#fccde5", "#d9d9d9", "#bc80bd"),
}  # fmt: skip
#: names of colours that go over into each other, pale to strong
SCALES: dict[str, tuple[str, ...]] = {
    "blues": ("#eaf2fb", "#b9d5ee", "#6fa8d8", "#2f71b3", "#123f77"),
    "greens": ("#e9f6ec", "#b8e0c1", "#74c08a", "#2f8f52", "#0d5a2d"),
    "oranges": ("#fef0e3", "#fccfa2", "#f79d57", "#dd6416", "#8f3a05"),
    "reds": ("#fdecea", "#f9b9ae", "#ee7566", "#cb3330", "#83101d"),
    "purples": ("#f2f0f8", "#cfcbe5", "#9f97c9", "#6c53a3", "#3d1978"),
    "greys": ("#f2f2f2", "#cfcfcf", "#9a9a9a", "#616161", "#252525"),
    "viridis": ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"),
    "magma": ("#000004", "#51127c", "#b73779", "#fc8961", "#fcfdbf"),
    "plasma": ("#0d0887", "#7e03a8", "#cc4778", "#f89540", "#f0f921"),
    "inferno": ("#000004", "#57106e", "#bc3754", "#f98e09", "#fcffa4"),
    "cividis": ("#00224e", "#434e6c", "#7d7c78", "#bcae6c", "#fee838"),
    "coolwarm": ("#3b4cc0", "#8db0fe", "#f2f2f2", "#f4987a", "#b40426"),
}
DIVERGING = ("#b2442e", "#eeb59b", "#f6f6f6", "#9dbfe0", "#2a63a8")
_ALIASES = {
    "grays": "greys",
    "rocket": "magma",
    "mako": "viridis",
    "ylgnbu": "viridis",
    "rdbu": "coolwarm",
    "vlag": "coolwarm",
}
_HEX = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})\Z")
#: names that CSS and matplotlib both know
NAMES = frozenset(
    "aqua aquamarine azure beige bisque black blue blueviolet brown burlywood cadetblue chocolate coral cornflowerblue crimson "
    "cyan darkblue darkcyan darkgoldenrod darkgray darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid "
    "darkred darksalmon darkseagreen darkslateblue darkslategray darkturquoise darkviolet deeppink deepskyblue dimgray dodgerblue "
    "firebrick forestgreen fuchsia gainsboro gold goldenrod gray green grey hotpink indianred indigo khaki lavender lightblue "
    "lightcoral lightcyan lightgray lightgreen lightgrey lightpink lightsalmon lightseagreen lightskyblue lightsteelblue lime "
    "limegreen magenta maroon mediumaquamarine mediumblue mediumorchid mediumpurple mediumseagreen midnightblue navy olive "
    "olivedrab orange orangered orchid palegreen paleturquoise palevioletred peachpuff peru pink plum powderblue purple "
    "rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen sienna silver skyblue slateblue slategray "
    "springgreen steelblue tan teal thistle tomato turquoise violet wheat white yellow yellowgreen".split()
)
_LETTERS = {
    "b": "blue",
    "g": "green",
    "r": "red",
    "c": "cyan",
    "m": "magenta",
    "y": "yellow",
    "k": "black",
    "w": "white",
}


@dataclass(frozen=True)
class Colors:
    """The colours of a chart. one: of all marks without a hue, "" for the first of many. scale: from little to much."""

    one: str = ""
    many: tuple[str, ...] = DEFAULT
    scale: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """The colour of marks without a hue."""
        return self.one or self.many[0]

    def of(self, place: int) -> str:
        """Return the colour of the hue at a place."""
        return self.many[place % len(self.many)]


def color(value: Any) -> str:
    """Return a colour as CSS and matplotlib both read it.

    Raises:
        InputError: plot.color, it is none.
    """
    if isinstance(value, str):
        name = _LETTERS.get(value, value.removeprefix("tab:"))
        if name.lower() in NAMES:
            return name.lower()
        if _HEX.match(name):
            return name
        if re.fullmatch(r"C\d", name):
            return DEFAULT[int(name[1])]
    if (
        isinstance(value, tuple | list)
        and len(value) in (3, 4)
        and all(isinstance(v, int | float) and 0 <= v <= 1 for v in value)
    ):
        return "#" + "".join(f"{round(255 * v):02x}" for v in value[:3])
    msg = "That is not a colour."
    raise InputError(msg, code="plot.color", next_step='Write a name such as "steelblue", or "#3b6fb6".')


def palette(value: Any) -> tuple[str, ...]:
    """Return the colours of a palette: a name, or colours of one's own.

    Raises:
        InputError: plot.palette, an unknown name.
    """
    if isinstance(value, str):
        name = _ALIASES.get(value.lower(), value.lower())
        found = PALETTES.get(name) or SCALES.get(name)
        if found is None:
            if name in NAMES or _HEX.match(value):
                return (color(value),)
            msg = "There is no such palette."
            hint = did_you_mean(name, [*PALETTES, *SCALES]) or f"Choose one of {', '.join(PALETTES)}."
            raise InputError(msg, code="plot.palette", next_step=hint)
        return found
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, Sequence) and value:
        return tuple(color(v) for v in value)
    msg = "A palette is a name or a list of colours."
    raise InputError(msg, code="plot.palette", next_step='Write palette="set2" or palette=["#3b6fb6", "orange"].')


def scale(value: Any) -> tuple[str, ...]:
    """Return colours that go over into each other, by name (matplotlib's `cmap`); "…_r" turns them round.

    Raises:
        InputError: plot.palette, an unknown name.
    """
    name = value if isinstance(value, str) else str(getattr(value, "name", ""))  # a matplotlib colormap has a name
    name = name.lower()
    turned = name.endswith("_r")
    name = name.removesuffix("_r")
    found = SCALES.get(_ALIASES.get(name, name))
    if found is None:
        msg = "There is no such colour scale."
        hint = did_you_mean(name, SCALES) or f"Choose one of {', '.join(SCALES)}."
        raise InputError(msg, code="plot.palette", next_step=hint)
    return found[::-1] if turned else found
