"""The catalogue as one identity sees it, and the datasets' memory files."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
from bastion_plan.bind import BoundPlan, bind
from bastion_plan.errors import InputError, NotFound, ServerError
from bastion_plan.nodes import Node, scans
from bastion_policy.checks import alike, strangers, too_few
from bastion_policy.facts import DatasetFacts, PrivateFacts
from bastion_policy.history import Columns
from bastion_policy.model import Policy
from bastion_wire.messages import Dataset

from bastion_server.channel.keys import Principal
from bastion_server.service.opened import check_open
from bastion_server.store import DatasetRecord, SealedRef, Store
from bastion_server.store.datasets import EVERYONE
from bastion_server.store.uses import rows_of


@dataclass(frozen=True)
class Subject:
    """A bound plan with everything that is known about its datasets.

    records: the uploaded tables it reads, by id. named: ids in the plan as it was sent (saved frames included).
    """

    plan: Node
    plan_hash: str
    bound: BoundPlan
    records: dict[str, DatasetRecord]
    named: tuple[str, ...]

    @property
    def facts(self) -> dict[str, DatasetFacts]:
        """Public facts by id."""
        return {key: record.facts for key, record in self.records.items()}

    @property
    def private(self) -> dict[str, PrivateFacts]:
        """Measured facts by id, for the judge."""
        return {key: record.private for key, record in self.records.items() if record.private is not None}

    @property
    def versions(self) -> dict[str, int]:
        """Dataset versions, to which approvals are bound."""
        return {key: record.facts.version for key, record in self.records.items()}

    @property
    def policy_versions(self) -> dict[str, int]:
        """Policy versions, to which approvals are bound."""
        return {key: record.facts.policy_version for key, record in self.records.items()}

    @property
    def owners(self) -> tuple[str, ...]:
        """Who decides about this plan: the owners of everything it reads."""
        return tuple(sorted({record.facts.owner for record in self.records.values()}))

    @property
    def joint(self) -> bool:
        """Whether it reads tables of several owners, so that nobody owns all of them.

        INVARIANT: who owns one of two tables did not become a reader of the other. So what is measured of such a plan, and is more
        than who asks is told, is shown to no owner and is in no log that an owner reads.
        """
        return len(self.owners) > 1

    @property
    def names(self) -> dict[str, str]:
        """Dataset names by id, for code and words."""
        return {key: record.facts.name for key, record in self.records.items()}


class _Visible(Mapping[str, DatasetFacts]):
    """What one identity may see, looked up as a plan names it; all of it is listed only to suggest a name."""

    def __init__(self, store: Store, who: str) -> None:
        self._store, self._who = store, who
        self.records: dict[str, DatasetRecord] = {}

    def __getitem__(self, dataset: str) -> DatasetFacts:
        if dataset not in self.records:
            record = self._store.datasets.find(dataset)
            if record is None or record.facts.id != dataset or not record.visible_to(self._who):
                raise KeyError(dataset)
            self.records[dataset] = record
        return self.records[dataset].facts

    def __iter__(self) -> Iterator[str]:
        return iter([record.facts.id for record in self._store.datasets.list(visible_to=self._who)])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Catalogue:
    """Datasets through the eyes of one identity.

    INVARIANT: what an identity may not see is answered exactly like what does not exist.
    """

    def __init__(self, store: Store, known: Callable[[str], bool] = lambda name: True) -> None:
        """Take the store. known: whether a name has a key or an invitation."""
        self._store, self._known = store, known

    def visible(self, who: str) -> dict[str, DatasetRecord]:
        """Return the datasets this identity may see, by id."""
        return {record.facts.id: record for record in self._store.datasets.list(visible_to=who)}

    def find(self, ref: str, who: str) -> DatasetRecord:
        """Return one dataset by id or name.

        Raises:
            NotFound: missing.dataset, whether it does not exist or may not be seen.
        """
        record = self._store.datasets.find(ref, visible_to=who)
        if record is None:
            msg = f"There is no dataset {ref!r} that you may see."
            raise NotFound(msg, code="missing.dataset")
        return record

    def subject(self, plan: Node, plan_hash: str, who: str) -> Subject:
        """Bind a plan against what this identity may see.

        Raises:
            BindError: names or types that do not fit. ServerError: server.locked. AttestationError: tee.release.decided.
        """
        visible = _Visible(self._store, who)
        bound = bind(plan, visible)
        used = {key: visible.records[key] for key in scans(bound.root)}
        check_open(self._store, used.values())
        return Subject(plan, plan_hash, bound, used, scans(plan))

    def check_unchanged(self, subject: Subject, who: str) -> None:
        """Check that what a query was judged by still holds.

        INVARIANT: called right before an answer leaves: rows, policy, roles and access are those of one moment, and that
        moment is not over.

        Raises:
            InputError: input.dataset.changed. ServerError: server.locked, its owner took the key back.
        """
        for key in dict.fromkeys((*subject.records, *subject.named)):
            now, then = self._store.datasets.find(key), subject.records.get(key)
            same = (
                now is not None
                and now.visible_to(who)
                and (
                    then is None
                    or (now.facts.version, now.facts.policy_version) == (then.facts.version, then.facts.policy_version)
                )
            )
            if now is not None:
                check_open(self._store, (now,))
            if not same:
                msg = "A dataset of this query was changed while it ran."
                raise InputError(
                    msg,
                    code="input.dataset.changed",
                    reason="Its rows, its policy or who may see it are not what the query was judged by.",
                    next_step="Run it again.",
                )

    def card(self, record: DatasetRecord, principal: Principal) -> Dataset:
        """Return a dataset's card for one identity. Nobody but the owner learns who else may see it."""
        mine = record.facts.owner == principal.name
        facts = record.facts if mine else _without_names(record.facts, principal.name)
        return Dataset(
            facts=facts,
            created=record.created,
            kind_of=record.kind,
            mine=mine,
            warnings=self.warnings(record) if mine else (),
            allow=record.allow if mine else (),
            sealed=self._sealed(record),
        )

    def _sealed(self, record: DatasetRecord) -> str:
        if not record.owner_sealed:
            return ""
        return "locked" if self._store.ring.held(record.facts.id) is None else "open"

    def warnings(self, record: DatasetRecord) -> tuple[str, ...]:
        """Return what the owner should look at, one sentence each."""
        found = [] if record.kind == "saved" else list(record.facts.policy.warnings())
        if record.facts.unit_declared:
            found = [text for text in found if "privacy unit" not in text]
        found += too_few(record.facts.policy, record.private)
        found += alike(record.facts, record.private)
        found += strangers(record.facts.policy, self._known)
        found += [
            f"The access list names {name!r}, and nobody has a key of that name: whoever gets it later may use the table."
            for name in record.allow
            if name != EVERYONE and not self._known(name)
        ]
        if unconfirmed := record.facts.unconfirmed:
            found.append(
                f"Roles were inferred for {', '.join(unconfirmed)}: look at them, then confirm or change them."
            )
        return tuple(found)


def _without_names(facts: DatasetFacts, who: str) -> DatasetFacts:
    """Leave other people's names out of audiences; the policy means the same for `who`."""
    audiences = facts.policy.audiences
    if not audiences:
        return facts
    own = {name: (who,) for name, members in audiences.items() if who in members}
    policy: Policy = msgspec.structs.replace(facts.policy, audiences=own or None)
    return msgspec.structs.replace(facts, policy=policy)


#: bytes of columns that are held for the judge
COLUMNS = 256 << 20


class MemoryFiles:
    """Decrypted datasets as sealed memory files, the least recently used ones dropped above `capacity` bytes."""

    def __init__(self, store: Store, capacity: int) -> None:
        self._store = store
        self._capacity = capacity
        self._open: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._loading: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._closed = False
        #: what the judge measured of stored columns
        self.columns = Columns(COLUMNS)

    async def descriptors(self, records: Iterable[DatasetRecord]) -> dict[str, int]:
        """Return id -> a fresh descriptor per table, which the caller closes (whatever is dropped meanwhile).

        Raises:
            ServerError: a sealed file is missing or damaged.
        """
        found: dict[str, int] = {}
        try:
            for record in records:
                found[record.facts.id] = await self._get(record)
        except BaseException:
            for fd in found.values():
                os.close(fd)
            raise
        return found

    def put(self, dataset: str, version: int, fd: int) -> None:
        """Keep a memory file that is at hand already; it is taken over."""
        if self._closed:
            os.close(fd)
            return
        self._drop_dataset(dataset)
        self._open[dataset, version] = fd
        self._shrink()

    def forget(self, dataset: str) -> None:
        """Drop what is held of a dataset: deleted, replaced. What is being loaded of it is not kept."""
        self._drop_dataset(dataset)
        for key in [key for key in self._loading if key[0] == dataset]:
            del self._loading[key]

    def close(self) -> None:
        """Drop everything, now and what is still being loaded."""
        self._closed = True
        self._loading.clear()
        while self._open:
            os.close(self._open.popitem()[1])

    async def _get(self, record: DatasetRecord) -> int:
        """Return a fresh descriptor."""
        key = (record.facts.id, record.facts.version)
        if key not in self._open:
            if record.sealed is None or self._closed:
                raise _no_rows()
            loading = self._loading.get(key)
            if loading is None:
                loading = self._loading[key] = asyncio.create_task(self._load(key, record.sealed))
                loading.add_done_callback(_seen)
            # shielded: one who stops waiting must neither stop the others nor lose the descriptor
            await asyncio.shield(loading)
            if key not in self._open:
                raise _no_rows()
        self._open.move_to_end(key)
        return os.dup(self._open[key])

    async def _load(self, key: tuple[str, int], sealed: SealedRef) -> None:
        me = asyncio.current_task()
        try:
            fd = await asyncio.to_thread(self._store.sealed.load_into_memfd, sealed, "dataset", key[:1], rows_of(key[1]))
        except BaseException:
            if self._loading.get(key) is me:
                del self._loading[key]
            raise
        if self._loading.get(key) is not me:  # forgotten meanwhile
            os.close(fd)
            return
        del self._loading[key]
        self._open[key] = fd
        self._shrink()

    def _shrink(self) -> None:
        while len(self._open) > 1 and sum(os.fstat(fd).st_size for fd in self._open.values()) > self._capacity:
            os.close(self._open.popitem(last=False)[1])

    def _drop_dataset(self, dataset: str) -> None:
        for key in [key for key in self._open if key[0] == dataset]:
            os.close(self._open.pop(key))
        self.columns.forget(dataset)


def _no_rows() -> ServerError:
    msg = "The rows of a dataset are not there."
    return ServerError(
        msg, code="server.store.rows", next_step="Run it again; if it stays so, tell the server's operator."
    )


def _seen(task: asyncio.Task[None]) -> None:
    """Take note of a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
