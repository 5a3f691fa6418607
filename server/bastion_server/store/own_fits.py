"""Fits on sealed datasets, as this process wrote them: what nobody else may change of them, and what nobody else may read."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from bastion_plan.errors import ServerError
from bastion_plan.models.fits import encode_spec

from bastion_server.store.binding import binding
from bastion_server.store.database import Database
from bastion_server.store.keyring import KeyRing
from bastion_server.store.uses import of_run

if TYPE_CHECKING:
    from bastion_server.store.runs import Run

Losses = tuple[tuple[float | None, int], ...]
_Fixed = tuple[bytes, bool, int, int]
_R = TypeVar("_R", bound="Run")
_NONE = b"\x90"  #: no losses yet


class OwnFits:
    """What is known of fits that were begun, or went on, in this process; and what rows about fits hold, under the owners' keys.

    INVARIANT: the noise of a fit, whether it is done and which of its steps are paid are a budget: rows that say other do not count.
    """

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database, self._ring = database, ring
        self._known: dict[str, _Fixed] = {}
        self.granted: dict[str, str] = {}  #: those that an approval gave, by grant

    def sealed(self, run: Run) -> bool:
        """Whether a fit is about a dataset whose key is held, or was."""
        return bool(self._ring.of(run.versions))

    def agrees(self, run: Run) -> bool | None:
        """Return whether a fit is what is known of it; None where nothing is."""
        known = self._database.within().get(f"run {run.id}") or self._known.get(run.id)
        return None if known is None else known == _fixed(run)

    def note(self, run: _R) -> _R:
        """Note, in the transaction that writes it, what a fit is from now on; return it."""
        if self.sealed(run):
            known = self._database.within()[f"run {run.id}"] = _fixed(run)
            self._database.after_commit(lambda: self._know(run, known))
        return run

    def _know(self, run: Run, known: _Fixed) -> None:
        self._known[run.id] = known
        if run.grant:
            self.granted[run.grant] = run.id

    def forget(self, run: str) -> None:
        """Forget a fit that was deleted."""
        self._known.pop(run, None)
        self.granted = {grant: of for grant, of in self.granted.items() if of != run}

    def losses(self, run: Run, held: bytes) -> Losses:
        """Return the losses of a row; none while a key is not held.

        Raises:
            ServerError: server.catalogue.changed.
        """
        if held == _NONE:
            return ()
        try:
            text = self._ring.uncover(held, run.versions, of_run(run, "losses"))
        except ServerError as error:
            if error.code != "server.locked":
                raise
            return ()
        return msgspec.msgpack.decode(text, type=Losses)

    def covered(self, run: Run, losses: Iterable[tuple[float | None, int]]) -> bytes:
        """Return losses as a row holds them.

        Raises:
            ServerError: server.locked.
        """
        text = msgspec.msgpack.encode(list(losses))
        return text if text == _NONE else self._ring.cover(text, run.versions, of_run(run, "losses"))

    def measured(self, run: Run, place: Mapping[str, Any], answer: bytes) -> bytes:
        """Return a measurement as a row holds it. place: metric, part, bound, step, epsilon."""
        return self._ring.cover(answer, run.versions, _measure(run, place))

    def measurement(self, run: Run, row: sqlite3.Row) -> bytes:
        """Return the measurement of a row.

        Raises:
            ServerError: server.locked, server.catalogue.changed.
        """
        return self._ring.uncover(row["answer"], run.versions, _measure(run, row))


def _fixed(run: Run) -> _Fixed:
    """Return what nobody else may change: a digest of what a fit is, whether it is done, its steps that are paid, and not asked for."""
    what = (
        run.requester, run.plan, run.plan_hash, run.fit_hash, binding(run.versions, run.policy_versions), run.model, run.graph,
        run.parameters, encode_spec(run.spec), run.sigma, run.delta, run.grant, run.created,
    )  # fmt: skip
    return hashlib.sha256(msgspec.msgpack.encode(what)).digest(), run.state == "done", run.paid, run.credit


def _measure(run: Run, row: Mapping[str, Any] | sqlite3.Row) -> str:
    place = msgspec.msgpack.encode(tuple(row[name] for name in ("metric", "part", "bound", "step", "epsilon")))
    return of_run(run, f"measurement {hashlib.sha256(place).hexdigest()}")
