"""A dataset made to mislead, on a real server: nothing that the kernel sends holds what a terminal or a page would obey."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hostile import check_html, check_text

from bastion.policy import Policy

NAME = 'a\x1b[2J\u202e<img src=x onerror=alert(1)>"'
VALUE = "v\x1b]0;owned\x07\u2066</td><script>alert(1)</script>"


@pytest.fixture(scope="module")
def hostile(kernel, stage):
    frame = pl.DataFrame({NAME: [VALUE] * 20, "number": range(20), "long": [[VALUE]] * 20})
    stage.owner.client.polars.send_df(frame, Policy.open(), name="hostile", unit="row", replace=False)
    assert kernel.run('h = dataset("hostile")').status == "ok"
    return kernel


def shown(reply: Any) -> list[dict[str, Any]]:
    """Everything of a reply that a person sees, as MIME bundles."""
    out = [c["data"] for c in reply.of("execute_result", "display_data", "update_display_data")]
    out += [{"text/plain": c["text"]} for c in reply.of("stream")]
    out += [{"text/plain": "\n".join([c["ename"], c["evalue"], *c["traceback"]])} for c in reply.of("error")]
    assert out
    return out


@pytest.mark.parametrize(
    "code",
    [
        "h",
        "h.select(pl.all())",
        "h.preview()",
        "datasets()",
        "h.fetch()",
        "print(h.columns, h.head(2).fetch().to_dicts())",
        "print(h.columns[0])",
        "display(h.columns[0])",
        "h.fetch().columns[0]",
        "h.select(pl.col(h.columns[0] + 'x'))",
        "h.select(h.columns[0] + 'x')",
        "dataset(h.columns[0])",
        "h.select(pl.col(h.columns[0]).sum())",
        "h.select('number').explain()",
        "h.select(pl.all().len())",
    ],
)
def test_nothing_that_is_shown_is_obeyed(hostile, code):
    for data in shown(hostile.run(code)):
        check_text(data["text/plain"])
        check_html(data.get("text/html", ""))


@pytest.mark.parametrize("code", ["h.select('", "h.select(pl.col.", "h", "h.head("])
def test_completion_and_help(hostile, code):
    client = hostile.client
    client.complete(code, len(code))
    found = client.get_shell_msg(timeout=20)["content"]
    check_text("".join(found["matches"]), lines=False)
    client.inspect(code, len(code))
    check_text(client.get_shell_msg(timeout=20)["content"]["data"].get("text/plain", ""))


@pytest.mark.parametrize("code", ["h?", "h.head??", "?h"])
def test_pages(hostile, code):
    (payload,) = hostile.run(code).content["payload"]
    check_text(payload["data"]["text/plain"])
