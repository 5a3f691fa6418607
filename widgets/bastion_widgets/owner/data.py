"""The tab Datasets: cards, policies with a live check, trials on past queries, roles, access lists, uploads, deletion."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import traitlets as t
from bastion_plan.errors import InputError, NotFound, PolicyError
from bastion_policy.roles import Role, RoleKind
from bastion_policy.toml import to_toml
from bastion_policy.words import policy_words
from bastion_wire import messages as m
from msgspec.structs import replace

from bastion.client.exposure import MEANS, cleared_text, failures_text
from bastion.client.policy_check import Sample, check_policy, samples
from bastion.client.policy_lines import PolicyLine, suggest
from bastion.client.trial import OUTCOMES, Trial
from bastion_widgets.owner import shown
from bastion_widgets.owner.declaring import declared_fields, role_of
from bastion_widgets.owner.sending import Uploads, number_of

if TYPE_CHECKING:
    from bastion.client.connection import Connection

MAX_POLICY_TEXT = 200_000
MAX_TRIED = 200


class DatasetsTab(Uploads):
    """Traits and clicks of the tab, and what a decision would be as a line of a policy."""

    _connection: Connection
    _infos: dict[str, m.RequestInfo]
    said: Any
    tab: Any
    request: Any

    #: one's own datasets
    datasets = t.List().tag(sync=True)
    #: the dataset that is open; empty for none
    dataset = t.Dict().tag(sync=True)
    #: of the one that is open: whose failed queries count, and how many
    failures = t.Dict().tag(sync=True)
    #: what is known of the text in the editor: error with line, words, warnings, samples
    check = t.Dict().tag(sync=True)
    #: the text in the editor tried on past queries
    trial = t.Dict().tag(sync=True)

    def _prepare_datasets(self) -> None:
        self._lines: list[PolicyLine] = []
        self._counted: list[str] = []  # whose failed queries count, as the server calls them
        self._prepare_uploads(self._show_new)

    def _cards(self) -> dict[str, m.Dataset]:
        return {key: d for key, d in self._connection._datasets.items() if d.mine}

    def _mine(self) -> set[str]:
        return {d.facts.name for d in self._cards().values()}

    def _card(self, dataset: str) -> m.Dataset:
        card = self._cards().get(dataset)
        if card is None:
            msg = "This dataset is gone, or is not yours."
            raise NotFound(msg, code="missing.dataset")
        return card

    async def _load_datasets(self) -> None:
        """Show the datasets as they are now."""
        await self._connection._refresh()
        cards = self._cards()
        self.datasets = [
            _row(card) for card in sorted(cards.values(), key=lambda d: (d.kind_of != "table", d.facts.name))
        ]
        open_one = self.dataset.get("id")
        if open_one in cards:
            self.dataset = _whole(cards[open_one])
        elif open_one:
            self.dataset = {}

    # ---- clicks: one dataset -----------------------------------------------------------------------------------------

    async def do_open_dataset(self, dataset: str) -> None:
        """Open a dataset: its card, and its policy in the editor."""
        card = self._card(dataset)
        self.dataset, self.trial = _whole(card), {}
        await self.do_check(dataset, self.dataset["policy"])
        await self._load_failures(card)

    async def do_check(self, dataset: str, text: str) -> None:
        """Check a policy's text as it is typed; nothing is asked of the server."""
        card = self._card(dataset)
        checked = await asyncio.to_thread(check_policy, _policy_text(text), card.facts)
        now = {s.what: s.outcome for s in await asyncio.to_thread(lambda: list(samples(card.facts)))}
        error = checked.error
        self.check = {
            "dataset": dataset,
            "error": "" if error is None else shown.block(" ".join(filter(None, (error.message, error.reason, error.next_step)))),
            "line": error.details.get("line", 0) if error is not None else 0,
            "words": [shown.line(w) for w in checked.words],
            "warnings": [shown.line(w) for w in checked.warnings],
            "samples": [_sample(s, now.get(s.what, "")) for s in checked.samples],
        }  # fmt: skip

    async def do_try(self, dataset: str, text: str) -> None:
        """Try the text in the editor on past queries, on the server; nothing changes."""
        self.said = shown.said("Trying it on past queries …", "busy")
        trial = await self._connection._try_policy(dataset, _policy_text(text), None, MAX_TRIED)
        self.trial = {"dataset": dataset, **_trial(trial)}
        self.said = {}

    async def do_set_policy(self, dataset: str, text: str) -> None:
        """Sign the policy in the editor and send it."""
        card = self._card(dataset)
        try:
            await self._connection._set_policy(dataset, _policy_text(text))
        except PolicyError as error:
            await self.do_check(dataset, text)
            self.check = {
                **self.check, "line": error.details.get("line", 0),
                "error": shown.block(" ".join(filter(None, (error.message, error.reason, error.next_step)))),
            }  # fmt: skip
            raise
        self.said = shown.said(
            f"{card.facts.name} has its new policy. Requests and approvals of the old one have ended."
        )
        await self._load_datasets()
        await self.do_open_dataset(dataset)

    async def do_set_role(
        self,
        dataset: str,
        column: str,
        role: str,
        lower: Any = "",
        upper: Any = "",
        domain: Any = "",
        varies: bool = False,
    ) -> None:
        """Sign another role of a column, or the one that was inferred, and send it.

        lower, upper: bounds of a measure as typed. domain: values that may be named, one a line. varies: see `Role`.
        """
        card = self._card(dataset)
        facts = card.facts.columns[number_of(column, len(card.facts.columns))]
        declared = role_of(facts, role, str(lower), str(upper), str(domain), bool(varies))
        if declared == Role(declared.kind):
            await self._connection._set_policy(dataset, None, {facts.name: declared.kind.value})
        else:
            await self._connection._refresh()  # the text below is of all columns: as they are now
            policy = self._card(dataset).facts.policy
            whole = replace(policy, roles={**(policy.roles or {}), facts.name: declared})
            await self._connection._set_policy(dataset, to_toml(whole))
        self.said = shown.said(f"{facts.name} is {declared} now.")
        await self._load_datasets()
        await self.do_open_dataset(dataset)

    async def do_set_allow(self, dataset: str, names: str) -> None:
        """Sign another access list and send it."""
        card = self._card(dataset)
        people = tuple(dict.fromkeys(filter(None, (part.strip() for part in str(names).replace(",", " ").split()))))
        await self._connection._set_policy(dataset, None, None, people)
        who = "everyone with a key" if "*" in people else ", ".join(people) or "nobody but you"
        self.said = shown.said(f"{card.facts.name} may be used by {who}.")
        await self._load_datasets()

    async def _load_failures(self, card: m.Dataset) -> None:
        """Show whose failed queries count; nothing where that cannot be read now, as of a locked table."""
        found: list[dict[str, Any]] = []
        if card.kind_of == "table" and card.sealed != "locked":
            message = (await self._connection._exposure(card.facts.id)).message
            self._counted = [a.audience for a in message.audiences if a.failed]
            found = [
                {"name": shown.line(a.audience, 80), "members": [shown.line(n, 80) for n in a.members if n != a.audience],
                 "failed": a.failed, "says": failures_text(a)}
                for a in message.audiences if a.failed
            ]  # fmt: skip
        self.failures = {"dataset": card.facts.id, "means": MEANS, "people": found}

    async def do_clear_failures(self, dataset: str, who: str, failed: Any) -> None:
        """Sign that somebody's failed queries count no longer, as many as the page showed."""
        card = self._card(dataset)
        names = {shown.line(name, 80): name for name in self._counted}
        try:
            found = await self._connection._clear_failures(
                dataset, names.get(who, str(who)), number_of(failed, 1 << 20)
            )
        finally:
            await self._load_failures(card)
        self.said = shown.said(cleared_text(found, str(who)))

    async def do_release_key(self, dataset: str) -> None:
        """Let the server have the key of a sealed dataset, after it has proved what it is."""
        card = await self._connection._release_key(self._card(dataset).facts.id)
        self.said = shown.said(f"{card.facts.name} is open on this server, until it stops or you take the key back.")
        await self._load_datasets()

    async def do_revoke_key(self, dataset: str) -> None:
        """Take the key of a sealed dataset back."""
        card = await self._connection._revoke_key(self._card(dataset).facts.id)
        self.said = shown.said(f"{card.facts.name} is locked.")
        await self._load_datasets()

    async def do_delete(self, dataset: str, name: str) -> None:
        """Sign the deletion of a dataset, whose name was typed, and send it."""
        card = self._card(dataset)
        if str(name).strip() != card.facts.name:
            msg = f"To delete it, type its name: {card.facts.name}"
            raise InputError(msg, code="input.delete")
        await self._connection._delete(dataset)
        self.dataset, self.check, self.trial = {}, {}, {}
        self.said = shown.said(f"{card.facts.name} is deleted.")
        await self._load_datasets()

    async def _show_new(self, dataset: str) -> None:
        await self._load_datasets()
        await self.do_open_dataset(dataset)

    # ---- clicks: lines of a policy -----------------------------------------------------------------------------------

    async def do_suggest(self, request: str) -> None:
        """Show ways to say a decision in the policies of one's tables."""
        info = self._infos.get(request)
        if info is None:
            msg = "This request is not there any more."
            raise NotFound(msg, code="missing.request")
        cards = [d for d in self._cards().values() if d.facts.name in info.datasets and d.kind_of == "table"]
        self._lines = [line for card in cards for line in suggest(info, card.facts)]
        self._show_lines(request)

    async def do_try_suggestion(self, request: str, number: int) -> None:
        """Try a suggested policy on past queries."""
        line = self._line(number)
        trial = await self._connection._try_policy(line.dataset, line.text, None, MAX_TRIED)
        self._show_lines(request, number, _trial(trial))

    async def do_edit_suggestion(self, request: str, number: int) -> None:
        """Open a suggested policy in the editor; it takes effect when it is saved there."""
        line = self._line(number)
        self.dataset, self.trial = {**_whole(self._card(line.dataset)), "draft": line.text}, {}
        self.tab = "Datasets"
        await self.do_check(line.dataset, line.text)

    def _line(self, number: Any) -> PolicyLine:
        return self._lines[number_of(number, len(self._lines))]

    def _show_lines(self, request: str, tried: int = -1, trial: dict[str, Any] | None = None) -> None:
        if self.request.get("id") != request:
            return
        names = {key: d.facts.name for key, d in self._cards().items()}
        found = [
            {
                "number": n, "dataset": shown.line(names.get(line.dataset, ""), 80), "words": shown.line(line.words),
                "line": shown.block(line.line), "warning": shown.line(line.warning), "trial": trial if n == tried else None,
            }
            for n, line in enumerate(self._lines)
        ]  # fmt: skip
        self.request = {**self.request, "suggestions": found}


def _row(card: m.Dataset) -> dict[str, Any]:
    facts = card.facts
    return {
        "id": facts.id, "name": shown.line(facts.name, 120), "kind": shown.line(card.kind_of, 20), "version": facts.version,
        "columns": len(facts.columns), "warnings": len(card.warnings), "created": card.created, "sealed": card.sealed,
    }  # fmt: skip


def _whole(card: m.Dataset) -> dict[str, Any]:
    facts = card.facts
    inferred = {c.name: c.role for c in facts.columns if c.inferred}
    return {
        **_row(card),
        "unit": shown.line(facts.unit or "row", 120),
        "declared": facts.unit_declared,
        "roles": [
            {"name": shown.line(c.name, 120), "dtype": str(c.dtype), "role": str(c.role.kind), "says": shown.line(c.role, 200),
             "inferred": c.inferred, **declared_fields(c.role)}
            for c in facts.columns
        ],
        "kinds": [kind.value for kind in RoleKind],
        "allow": [shown.line(name, 80) for name in card.allow],
        "policy": to_toml(facts.policy, inferred),
        "words": [shown.line(w) for w in policy_words(facts.policy)],
        "says": [shown.line(w) for w in card.warnings],
    }  # fmt: skip


def _sample(sample: Sample, now: str) -> dict[str, Any]:
    return {
        "what": shown.line(sample.what, 300), "code": shown.block(sample.code), "outcome": sample.outcome,
        "says": OUTCOMES.get(sample.outcome, ""), "reason": shown.line(f"{sample.reason} {sample.fix}".strip()),
        "was": OUTCOMES.get(now, "") if now and now != sample.outcome else "",
    }  # fmt: skip


def _trial(trial: Trial) -> dict[str, Any]:
    """Return a trial as the page shows it: what changes first."""
    order = sorted(trial.queries, key=lambda q: q.before == q.after)
    return {
        "says": shown.line(trial.sentence()),
        "queries": [
            {
                "who": shown.line(q.who, 80), "words": shown.line(q.words, 500), "last": q.last, "times": q.times,
                "ended": shown.line(q.ended, 200), "before": OUTCOMES.get(q.before, ""), "after": OUTCOMES.get(q.after, ""),
                "changed": q.before != q.after, "reason": shown.line(f"{q.reason} {q.measured}".strip()),
            }
            for q in order
        ],
        "note": "Static rules decide for certain. Group sizes, dominance and what was told before are measured when a query runs.",
    }  # fmt: skip


def _policy_text(text: Any) -> str:
    if not isinstance(text, str) or len(text) > MAX_POLICY_TEXT:
        msg = "The policy is too long."
        raise InputError(msg, code="policy.size")
    return text
