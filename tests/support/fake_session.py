"""A server without a network for SDK and language tests: binds and runs plans with the engine, no guard but a row rule."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Callable
from typing import Any

import polars as pl
from bastion_plan import nodes as n
from bastion_plan.bind import bind
from bastion_plan.canonical import decode, plan_hash
from bastion_plan.errors import NotFound
from bastion_policy.facts import ColumnFacts, DatasetFacts
from bastion_policy.model import Policy
from bastion_policy.roles import to_role
from bastion_policy.toml import from_toml
from bastion_policy.verdict import Outcome, ReleaseNote, StaticVerdict
from bastion_server.engine.lower import lower
from bastion_wire import messages as m
from bastion_wire.identity import Identity

from bastion.client.attestation import Attestation
from bastion.expr.dtypes import to_dtype

SERVER_KEY = "yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"


def facts_of(name: str, frame: pl.DataFrame, policy: Policy | None = None, unit: str | None = None) -> DatasetFacts:
    columns = tuple(ColumnFacts(c, to_dtype(t), to_role("quasi"), inferred=True) for c, t in frame.schema.items())
    return DatasetFacts(f"ds-{name}", name, 1, columns, policy or Policy.default(), owner="olivia", unit=unit)


class FakeSession:
    """Answers like a server; `sent` keeps every request body. A query whose root is a Slice is put to review."""

    def __init__(self, tables: dict[str, pl.DataFrame]) -> None:
        self.tables = {f"ds-{k}": v for k, v in tables.items()}
        self.datasets = {f"ds-{k}": m.Dataset(facts_of(k, v)) for k, v in tables.items()}
        self.requests: dict[str, m.RequestInfo] = {}
        self.sent: list[Any] = []
        self.callback: Callable[[m.Push], None] = lambda push: None
        self.on_change: Callable[[str], None] = lambda state: None
        self.open_now = True
        self.closed = False
        self.attestation = Attestation()
        self.welcome = m.Welcome("fake", "0", "alice", ("user", "owner"), b"k" * 32)

    async def ask(self, body: Any, on_progress: Any = None) -> Any:
        self.sent.append(body)
        match body:
            case m.ListDatasets():
                return m.Datasets(tuple(self.datasets.values()))
            case m.GetDataset(ref=ref):
                for d in self.datasets.values():
                    if ref in (d.facts.id, d.facts.name):
                        return d
                raise NotFound(f"There is no dataset {ref!r}.", code="missing.dataset")
            case m.RequestAccess(plan=plan, reason=reason):
                key = f"rq-{len(self.requests) + 1}"
                info = m.RequestInfo(key, "pending", "alice", reason, plan_hash(plan), (), 0.0, plan=plan)
                self.requests[key] = info
                return m.Request(info)
            case m.GetRequest(request=key) | m.Withdraw(request=key):
                return m.Request(self.requests[key])
            case m.ListRequests():
                return m.Requests(tuple(self.requests.values()))
            case m.Decide(request=key, decision=decision, reason=reason):
                return m.Request(self.decide(key, decision, reason))
            case m.Save(plan=plan, name=name):
                root = decode(plan)
                frame = self.run(root)
                facts = facts_of(name or "unnamed", frame)
                self.tables[facts.id] = frame
                self.datasets[facts.id] = m.Dataset(facts, kind_of="saved", mine=True)
                return self.datasets[facts.id]
            case m.Delete(dataset=dataset):
                del self.datasets[dataset]
                return m.Done()
            case m.AuditShow():
                return m.Records((m.AuditRecord(0, 0.0, "query", "alice", "asked"),))
            case m.AuditVerify():
                return m.Verified(True, 1)
            case _:
                return m.Done()

    def decide(self, key: str, decision: str, reason: str = "") -> m.RequestInfo:
        old = self.requests[key]
        state = "approved" if decision == "approve" else "denied"
        info = m.RequestInfo(
            key,
            state,
            old.requester,
            old.reason,
            old.plan_hash,
            (),
            0.0,
            plan=old.plan,
            answer=reason,
            decided_by="olivia",
        )
        self.requests[key] = info
        self.callback(m.Push("decision", info))
        return info

    def run(self, plan: n.Node) -> pl.DataFrame:
        bound = bind(plan, {k: d.facts for k, d in self.datasets.items()})
        return lower(bound.root, {k: v.lazy() for k, v in self.tables.items()}).collect()

    async def query(self, body: m.Query, on_progress: Any = None) -> Any:
        self.sent.append(body)
        plan = decode(body.plan)
        hash_ = plan_hash(body.plan)
        verdict = StaticVerdict(Outcome.RELEASE, "aggregates only")
        if body.mode == "explain":
            bound = bind(plan, {k: d.facts for k, d in self.datasets.items()})
            return m.Explained(hash_, verdict, tuple(bound.schema.items()))
        approved = any(r.plan_hash == hash_ and r.state == "approved" for r in self.requests.values())
        if isinstance(plan, n.Slice) and body.mode == "run" and not approved:
            review = StaticVerdict(Outcome.REVIEW, "single rows")
            filed = next((r for r in self.requests.values() if r.plan_hash == hash_), None)
            return m.Denial(
                "review", "row-level", "It shows single rows.", "Aggregate.", hash_, review, 3, 10, True, request=filed
            )
        frame = self.run(plan) if body.mode == "run" else self.run(plan).clear()
        buffer = io.BytesIO()
        frame.write_ipc(buffer)
        data = buffer.getvalue()
        table = m.Table(
            tuple((k, to_dtype(t)) for k, t in frame.schema.items()), frame.height, len(data), hash_, ReleaseNote()
        )
        return table, data

    async def upload(self, begin: m.UploadBegin, data: memoryview, on_progress: Any = None) -> m.Dataset:
        self.sent.append(begin)
        assert hashlib.sha256(data).digest() == begin.sha256
        assert len(data) == begin.size
        frame = pl.read_ipc_stream(io.BytesIO(bytes(data)))
        facts = facts_of(begin.name, frame, from_toml(begin.policy) if begin.policy else None, begin.unit)
        self.tables[facts.id] = frame
        self.datasets[facts.id] = m.Dataset(facts, mine=True)
        if on_progress is not None:
            on_progress(m.Progress("sending", len(data), len(data)))
        return self.datasets[facts.id]

    #: never another server's
    server_key, endpoint, restarts, refusal = SERVER_KEY, "tcp://fake:1", 0, None

    async def ready(self) -> None:
        pass

    def on_push(self, callback: Callable[[m.Push], None]) -> None:
        self.callback = callback

    def on_state(self, callback: Callable[[str], None]) -> None:
        self.on_change = callback

    async def close(self) -> None:
        self.closed = True


def fake_connection(tables: dict[str, pl.DataFrame], *, flavour: str = "sync") -> Any:
    """Return a connection over a FakeSession ("async": the kernel's flavour, without a loop of its own)."""
    import threading

    from bastion.client.connection import AsyncConnection, Connection

    cls = Connection if flavour == "sync" else AsyncConnection
    connection = cls.__new__(cls)
    connection._loop = None
    connection._prepare(None)
    session = FakeSession(tables)
    connection._session = session
    connection._identity = Identity.create("alice")
    connection._server_key = SERVER_KEY
    connection._endpoint = "tcp://fake:1"
    connection._datasets = dict(session.datasets)
    session.on_push(connection._pushed)
    session.on_state(connection._state_changed)
    if flavour == "sync":
        connection._loop = asyncio.new_event_loop()
        connection._thread = threading.Thread(target=connection._loop.run_forever, daemon=True)
        connection._thread.start()
    return connection
