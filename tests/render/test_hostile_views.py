"""All that shows strings of others, with strings of somebody who wants to mislead: pages and texts hold none of it."""

from __future__ import annotations

import io
from typing import Any

import polars as pl
import pytest
from bastion_cli.output import SafeConsole, foreign
from bastion_plan import dtypes as dt
from bastion_plan.errors import BastionError
from bastion_plan.nodes import Inline
from bastion_policy.facts import ColumnFacts, DatasetFacts
from bastion_policy.model import Policy, Role
from bastion_policy.roles import RoleKind
from bastion_policy.verdict import Finding, Outcome, ReleaseNote, StaticVerdict
from bastion_wire import messages as m
from hostile import check_html, check_text, encodable, shape, texts
from hypothesis import given
from hypothesis import strategies as st

from bastion.client.denied import AccessRequest, Denied
from bastion.client.explaining import card_text, frame_text, verdict_text
from bastion.language import Environment
from bastion.language.inspection import describe_value
from bastion.render import bundle, cards, denials, tables
from bastion_kernel.errors import describe


class _Connection:
    def __init__(self, info: m.RequestInfo | None = None) -> None:
        self.info = info
        self._loop = None

    def _known_state(self, info: m.RequestInfo) -> m.RequestInfo:
        return info

    def _no_verdict(self) -> StaticVerdict:
        return StaticVerdict(Outcome.REFUSE, "")

    def on_decision(self, heard: Any) -> Any:
        return lambda: None


def denied(text: str, *, outcome: str = "review") -> Denied:
    info = m.RequestInfo("r-1", "denied", text, text, "hash", (text,), 0.0, answer=text)
    denial = m.Denial(outcome, text, text, text, "hash", StaticVerdict(Outcome.REVIEW, text), 1, 3, True, request=info)
    return Denied(denial, Inline(()), _Connection())  # type: ignore[arg-type]


def dataset(text: str) -> m.Dataset:
    roles = [Role(RoleKind.QUASI, domain=(text or "x",)), Role(RoleKind.HIDDEN)]
    columns = tuple(ColumnFacts(f"{text}{i}", dt.STRING, role, domain=role.domain) for i, role in enumerate(roles))
    facts = DatasetFacts("ds-1", text, 1, columns, Policy.default(), owner=text, unit=f"{text}1")
    return m.Dataset(facts, warnings=(text,))


def checked(data: dict[str, Any]) -> None:
    check_text(data["text/plain"])
    check_html(data.get("text/html", ""))


@given(st.lists(encodable(), min_size=1, max_size=4, unique=True), encodable(), encodable())
def test_tables(names: list[str], value: str, note: str):
    frame = pl.DataFrame({name: [value, None] for name in names})
    nested = pl.DataFrame({"l": [[value]], "s": [{value or "x": value}], "c": pl.Series([value], dtype=pl.Categorical)})
    said = ReleaseNote((Finding(note, note),), notes=(note,))
    for table in (frame, nested):
        checked(bundle(table, said, twin="twin"))
    plain = pl.DataFrame({f"c{i}": ["x", None] for i in range(len(names))})
    assert shape(tables.table_html(frame)) == shape(tables.table_html(plain))


@given(texts(), st.sampled_from(["review", "refuse"]))
def test_denials_and_requests(text: str, outcome: str):
    found = denied(text, outcome=outcome)
    checked(bundle(found))
    assert denials.denial_text(found).count("\n") <= 6
    request = AccessRequest(found.denial.request, _Connection())  # type: ignore[arg-type]
    checked(bundle(request))
    checked(bundle([request, request]))
    check_text(repr(request))


@given(texts())
def test_errors(text: str):
    error = BastionError(text, reason=text, next_step=text, code="x.y", details={"line": 1, "column": 1})
    checked(bundle(error))
    check_text(denials.error_text(error))
    name, message, trace = describe(error, text)
    check_text("\n".join([name, message, *trace]))


@given(texts())
def test_cards(text: str):
    card = dataset(text)
    checked(bundle(card))
    for page, plain in (
        cards.dataset_list([card]),
        cards.audit_list([m.AuditRecord(0, 0.0, text, text, text, red=True)]),
    ):
        check_html(page)
        check_text(plain)
    check_text(card_text(card))
    page, plain = cards.dataset_card(card)
    assert page.count('<div class="red">· look at this: ') == plain.count("\n· look at this: ") == 1
    verdict = StaticVerdict(Outcome.REVIEW, text, (Finding(text, text, (text,), text),), (text,))
    check_text(verdict_text(verdict))
    check_text(frame_text({text: dt.STRING}, verdict))


@given(encodable())
def test_inspection(text: str):
    check_text(describe_value(pl.DataFrame({text: [text]}), detailed=True))
    check_text(describe_value(text, detailed=True))


@given(texts())
def test_printing(text: str):
    env = Environment()
    shown: list[str] = []
    env.on_print = shown.append
    env.lookup("print").call(_Meter(), text, "x")
    check_text("".join(shown))


@given(texts())
def test_the_terminal(text: str):
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=False, width=10_000)
    console.print(f"[bold]{foreign(text)}[/]")
    console.print(text, markup=False)
    check_text(out.getvalue())
    first = out.getvalue().split("\n")[0]
    assert "[bold]" not in first


@given(texts())
def test_the_access_request(text: str):
    from bastion_widgets import AccessRequestWidget

    widget = AccessRequestWidget(denied(text))
    for part in widget._made.values():
        if hasattr(part, "value"):
            check_html(part.value)
        check_text(getattr(part, "description", ""))
    check_text(widget._repr_mimebundle_()["text/plain"])
    widget.close()


@given(st.lists(encodable(), min_size=1, max_size=3, unique=True), encodable())
def test_the_result_widget(names: list[str], value: str):
    from bastion_widgets import ResultWidget

    widget = ResultWidget(pl.DataFrame({name: [value] * 30 for name in names}), ReleaseNote(notes=(value,)))
    check_html(widget._view.value)
    for label, _ in widget._by.options:
        check_text(label, lines=False)
    checked(widget.static())
    widget.close()


@pytest.mark.parametrize("name", ["a\x1b[2J", "b\u202e"])
def test_a_hostile_name_still_has_its_place(name: str):
    page = tables.table_html(pl.DataFrame({name: [1]}))
    assert "�" in page


def test_words_of_a_megabyte_are_cut_wherever_they_are_shown():
    text = "<b onclick='x'>\x1b[31m" + "1 MB " * 200_000
    card, found = dataset(text), denied(text)
    verdict = StaticVerdict(Outcome.REVIEW, text, (Finding(text, text, (text,), text),), (text,))
    error = BastionError(text, reason=text, next_step=text, code="x.y", details={"line": 1, "column": 1})
    request = AccessRequest(found.denial.request, _Connection())  # type: ignore[arg-type]
    shown = [bundle(value) for value in (card, found, error, [request])]
    shown.append(bundle(pl.DataFrame({text: [text]}), ReleaseNote((Finding(text, text),))))
    views = [view for data in shown for view in (data["text/html"], data["text/plain"])]
    views += [
        card_text(card),
        verdict_text(verdict),
        frame_text({text: dt.STRING}, verdict),
        *describe(error, text)[:2],
    ]
    assert max(map(len, views)) < 60_000, list(map(len, views))


class _Meter:
    def characters(self, number: int) -> None:
        pass

    def value(self, value: Any) -> Any:
        return value
