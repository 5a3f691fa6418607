"""Plots in a real JupyterLab: drawn by its Vega, with hostile names as plain text and no error in the page's console.

With BASTION_SCREENSHOTS=FOLDER the screen is kept there.
"""

from __future__ import annotations

import polars as pl
import pytest
from jupyter_lab import EVIL

pytestmark = pytest.mark.timeout(400)
CELLS = [
    "connect()",
    'dataset("titanic").plot.hist("Age", bins=[0, 10, 20, 30, 40, 50, 60, 70, 80], hue="Sex", title="Ages on board")',
    'dataset("titanic").plot.bar("Pclass", "Survived", hue="Sex", title="Who survived?", ylabel="share that survived")',
    'dataset("titanic").plot.box("Pclass", "Age", hue="Sex")',
    'dataset("titanic").plot.line("Age", "Fare")',
    'dataset("titanic").plot.facet(col="Sex").hist("Age")',
    'dataset("titanic").plot.heatmap("Pclass", "SibSp")',
    'dataset("titanic").plot.scatter("Age", "SibSp")',
    'dataset("titanic").plot.pie("Pclass")',
]
#: names, values, titles and labels of others; each with a script in all of them
HOSTILE = [
    f'dataset("evil").plot.bar({EVIL!r}, "n", hue="image", title={EVIL!r}, xlabel={EVIL!r}, ylabel={EVIL!r})',
    f'dataset("evil").plot.facet(col={EVIL!r}).hist("n", bins=[0, 2, 4], title={EVIL!r})',
    f'dataset("evil").plot.pie({EVIL!r}, title={EVIL!r})',
    f'dataset("evil").plot.heatmap({EVIL!r}, "image", title={EVIL!r})',
    f'dataset("evil").plot.bar("script", "n", title={EVIL!r} + "\\u202e\\x1b[31m" + "long " * 2_000, ylabel={EVIL!r} * 50)',
]


#: words of a chart -> how they stand out from its ground; 4.5 is what readable means (WCAG 2.2, 1.4.3). Its ground is dark.
CONTRASTS = """svg => {
    const light = color => {
        const [r, g, b] = color.match(/[\\d.]+/g).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const ground = light(getComputedStyle(svg).backgroundColor)
    if (ground > 0.2) return {"the ground is light": 0}
    const over = text => (Math.max(light(getComputedStyle(text).fill), ground) + 0.05) / (Math.min(light(getComputedStyle(text).fill), ground) + 0.05)
    return Object.fromEntries([...svg.querySelectorAll("text")].map((text, at) => [`${text.textContent} ${at}`, over(text)]))
}"""


def test_plots_are_drawn(stage, opened):
    values = {EVIL: [EVIL, "b"] * 40, "image": ["https://evil.example/x.png"] * 80, "n": [1.0, 2.0] * 40}
    script = ["javascript:window.evil=1", "');window.evil=1;('\u202e\x1b[31m" + "long " * 2_000] * 40
    stage.send(pl.DataFrame({**values, "script": script}), name="evil")
    window = opened("plots", *CELLS, *HOSTILE, width=1100, height=6900)
    window.run_all()
    page, drawn = window.page, window.page.locator(".vega-embed canvas, .vega-embed svg.marks")
    count = len(CELLS) + len(HOSTILE) - 1
    drawn.nth(count - 1).wait_for(timeout=60_000)
    assert drawn.count() == count, window.errors
    sizes = [box for box in (drawn.nth(i).bounding_box() for i in range(count)) if box]
    assert all(box["width"] > 150 and box["height"] > 100 for box in sizes), sizes
    tooltip, told = page.locator("#vg-tooltip-element"), []
    for number in range(len(CELLS) - 1, count):
        box = drawn.nth(number).bounding_box()
        for part in (0.2, 0.35, 0.5, 0.65):  # over its marks, until one tells its values
            page.mouse.move(box["x"] + box["width"] * part, box["y"] + box["height"] * 0.7)
            page.wait_for_timeout(150)
            if tooltip.count() and "visible" in tooltip.get_attribute("class"):
                told.append(tooltip.inner_text())
                assert tooltip.locator("img, script").count() == 0
                window.harmless()
                break
        page.mouse.move(0, 0)
    assert len([text for text in told if EVIL in text]) >= 2, told
    assert page.locator("img[src*='evil']").count() == 0
    assert not any("evil.example" in url for url in window.asked)
    for number in range(len(CELLS), len(CELLS) + len(HOSTILE)):
        cell = window.cell(number)
        assert cell.locator(".jp-RenderedText[data-mime-type*=error]").count() == 0, cell.inner_text()
    window.harmless()
    window.keep("plots.png")
    try:
        window.theme("Dark")
        for number in (1, 5):  # a histogram with a legend, and panels
            window.run(number)
            window.idle()
            words = window.cell(number).locator(".vega-embed svg.marks").evaluate(CONTRASTS)
            assert len(words) > 15 and min(words.values()) >= 4.5, words
        window.keep("plots-dark.png")
    finally:
        window.theme("Light")  # it is kept for all windows
