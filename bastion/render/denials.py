"""Denials and errors: what happened, why, what to do; as static HTML that survives a reload, and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bastion_plan.errors import BastionError
from bastion_plan.nodes import scans

from bastion.client.habits import quoted
from bastion.render.requests import moment
from bastion.render.safe_text import MAX_LINE, safe_html, safe_text
from bastion.render.tables import STYLE, where_dead

if TYPE_CHECKING:
    from bastion.client.denied import AccessRequest, Denied


MAX_WORDS = 200
#: what the guard says where rows of people would show
_ROWS = "single people's rows"
#: before what waits for an owner; unlike a raised hand it is in most fonts
SIGN = "⚑"
#: in place of the buttons below a denial, where their kernel is gone
AGAIN = "font-size:11px;color:var(--jp-ui-font-color2,#666);content:'Run the cell again to go on: it shows how a request stands.'"
GONE = where_dead("bastion-denied", AGAIN)


def standing_request(denied: Denied) -> AccessRequest | None:
    """Return the denial's access request, if it still counts.

    One that was approved, expired or withdrawn when the denial came does not: it has been used up, and may be filed anew.
    """
    filed, then = denied.filed, denied.denial.request
    if filed is not None and then is not None and filed.id == then.id and then.state not in ("pending", "denied"):
        return None
    return filed


@dataclass(frozen=True)
class Course:
    """What became of a denial after its cell had ended, as a saved notebook keeps it below the reason.

    state: how the request stands, in a sentence; answer: the owner's words. html, text: what arrived. key: a CSS class of
    this part, by which a widget that says the same hides it while it lives. open: whether there is more to come.
    """

    state: str = ""
    answer: str = ""
    html: str = ""
    text: str = ""
    key: str = ""
    open: bool = True


def denial_html(denied: Denied, course: Course | None = None) -> str:
    """Return a denial as HTML. course: what became of it."""
    rows = [f"<b>{safe_html(denied.message, MAX_LINE)}</b>", safe_html(denied.reason, MAX_LINE)]
    if denied.fix:
        rows.append(f"What would pass: {safe_html(denied.fix, MAX_LINE)}")
    if looks := _looks(denied):
        rows.append(safe_html(looks, MAX_LINE))
    rows += [safe_html(line, MAX_LINE) for line in [*_earlier(denied), *_offers(denied, course)]]
    kind = "bad" if denied.outcome == "refuse" else ""
    body = "".join(f"<div>{row}</div>" for row in rows if row)
    code = f'<div class="rule">{safe_html(denied.code, MAX_LINE)}</div>'
    gone, below = GONE, ""
    if course is not None:
        words = f" “{safe_html(course.answer)}”" if course.answer else ""
        state = f"<div><b>{safe_html(course.state)}</b>{words}</div>" if course.state else ""
        below = f'<div class="{safe_html(course.key)}">{state}{course.html}</div>'
        gone = GONE if course.open else where_dead("bastion-denied", "content:''")
    return f'{STYLE}{gone}<div class="bastion bastion-denied"><div class="box {kind}">{body}{code}</div>{below}</div>'


def denial_text(denied: Denied, course: Course | None = None) -> str:
    """Return a denial as text. course: what became of it."""
    lines = [f"{SIGN} {denied.message}", f"  {denied.reason}"]
    if denied.fix:
        lines.append(f"  What would pass: {denied.fix}")
    if looks := _looks(denied):
        lines.append(f"  {looks}")
    lines += [f"  {line}" for line in [*_earlier(denied), *_offers(denied, course)]]
    lines.append(f"  [{denied.code}]")
    if course is not None and course.state:
        lines.append(course.state + (f" “{course.answer}”" if course.answer else ""))
    found = "\n".join(safe_text(line, MAX_LINE) for line in lines)
    return f"{found}\n{course.text}" if course is not None and course.text else found


def _looks(denied: Denied) -> str:
    """Return how one sees what rows look like, where single ones of a dataset were asked for; else nothing."""
    if denied.rule != "row-level" or _ROWS not in denied.reason:
        return ""
    cards = denied._connection._datasets
    names = [cards[key].facts.name for key in scans(denied.plan) if key in cards]
    return f"To see how rows look: dataset({quoted(names[0])}).preview() (made up)" if len(names) == 1 else ""


def _earlier(denied: Denied) -> list[str]:
    """Return what one was told before of the same columns, where history stands in the way, and what is said of the room left."""
    lines = []
    if denied.earlier:
        lines.append("What you were told of the same columns before:")
    for event in denied.earlier:
        lines.append(f"· {safe_text(event.text, MAX_WORDS) or event.plan_hash[:12]} ({moment(event.time)})")
    if limits := denied.room:
        lines.append(f"Room: {limits}")
    return lines


def _offers(denied: Denied, course: Course | None) -> list[str]:
    lines = []
    if denied.has_safe_part and (course is None or not course.html):
        cells = denied.denial
        part = f" ({cells.safe_cells} of {cells.total_cells} cells)" if cells.safe_cells < cells.total_cells else ""
        lines.append(f"The safe part{part} may be shown now: denied.safe_part()")
    if course is not None:  # it says how the request stands
        return lines
    filed = standing_request(denied)
    if filed is not None:
        answer = f" The owner's answer: {filed.answer}" if filed.answer else ""
        lines.append(f"Your request {filed.id} is {filed.state}.{answer}")
    elif denied.outcome == "review":
        lines.append('Nothing goes to the owner until you ask: denied.request("why you need it")')
    return lines


def error_text(error: BastionError, *, place: bool = True) -> str:
    """Return an error in up to four lines. place: whether to say where in the cell it is."""
    where = ""
    if place and "line" in error.details and not error.code.startswith("policy"):
        where = f"line {error.details['line']}, column {error.details.get('column', 1)}: "
    lines = [where + error.message, error.reason, error.next_step]
    return "\n".join(safe_text(line, MAX_LINE) for line in [*lines, f"[{error.code}]"] if line)


def error_html(error: BastionError) -> str:
    """Return an error as HTML."""
    first, *rest = error_text(error).splitlines()
    body = "".join(f"<div>{safe_html(line)}</div>" for line in rest[:-1])
    return (
        f'{STYLE}<div class="bastion"><div class="box bad"><div><b>{safe_html(first)}</b></div>{body}'
        f'<div class="rule">{safe_html(error.code)}</div></div></div>'
    )
