"""All messages of the protocol. One MessagePack map per message, in one ZeroMQ frame; bulk data in a second frame.

A request is {"v": 1, "id": n, "body": {"kind": "...", ...}}; answers carry the same id, pushes have id 0. A client with
nothing but msgpack and pyzmq can speak it (tests/wire/test_foreign_client.py does). Optional fields may be left out;
unknown fields are refused.
"""

from __future__ import annotations

from typing import Any

import msgspec
from bastion_plan.dtypes import DType
from bastion_plan.models.fits import FitSpec
from bastion_policy.facts import DatasetFacts
from bastion_policy.private.budget import Budget
from bastion_policy.private.pricing import ErrorBar
from bastion_policy.verdict import ReleaseNote, StaticVerdict

PROTOCOL_VERSION = 1
CHUNK = 1 << 20  #: bytes of a data frame
MAX_HEADER = 2 << 20  #: bytes of a message frame
WINDOW = 8  #: chunks in flight without credit


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """Base of all bodies."""


# ---- requests -------------------------------------------------------------------------------------------------------


class Hello(Body, frozen=True, tag="hello"):
    """First message of a session, answered by Welcome.

    enrol: only over the one-time key of an invitation, answered by Done: a statement signed by the new identity
    (identity.sign_statement of action "enrol", its name and curve_key, for the server's key; base64url), together with
    its name and verify_key.

    nonce: 32 fresh bytes; a server that can prove what it is answers with evidence about them (Welcome.shown). It may be sent
    again at any time, for new evidence.
    """

    client: str = ""
    enrol: str | None = None
    name: str | None = None
    verify_key: bytes | None = None
    nonce: bytes = b""


class Ping(Body, frozen=True, tag="ping"):
    """Answered by Done."""


class ListDatasets(Body, frozen=True, tag="list_datasets"):
    """Answered by Datasets."""


class GetDataset(Body, frozen=True, tag="get_dataset"):
    """By id or name. Answered by Dataset."""

    ref: str


class Query(Body, frozen=True, tag="query"):
    """Run a plan. mode: "run" (release, or a denial), "safe_part" (only what may leave now), "explain" (no run),
    "summarize" (no run and nothing spent: error bars and the price of an answer with noise).

    Answered by Progress*, then Table with data frames, or Denial, or Explained, or Summary, or Failed.
    epsilon: what an answer with noise may cost; 0 for the default share, and for an answer given before.
    preview (owners only): run without the guard, first rows of a filed request `request`.
    """

    plan: bytes
    mode: str = "run"
    request: str | None = None
    epsilon: float = 0.0


class Cancel(Body, frozen=True, tag="cancel"):
    """Stop the request with this id; that request then fails with code interrupted.cancelled. Not answered itself."""

    target: int


class Credit(Body, frozen=True, tag="credit"):
    """The receiver of a stream allows `chunks` more. Never answered. The envelope's id may be 0.

    Each chunk is credited as it is read: all streams of a session share one window.

    stream: id of the request that is answered with chunks, or of the UploadBegin that announced them.
    """

    stream: int
    chunks: int


class Save(Body, frozen=True, tag="save"):
    """Keep a plan as a derived dataset under a name. Answered by Dataset."""

    plan: bytes
    name: str | None = None


class Delete(Body, frozen=True, tag="delete"):
    """Delete a dataset (owner) or a saved frame (who saved it). Answered by Done."""

    dataset: str
    signed: bytes = b""


class UploadBegin(Body, frozen=True, tag="upload_begin"):
    """Announce a table as Arrow IPC stream bytes. Answered by UploadReady; then UploadChunk with a data frame each.

    policy: TOML text; empty for the default. signed: owner's signature over the terms (see identity.sign_statement).
    sealed: a bastion_tee Release of the dataset's key to this server, for a table whose key its owner keeps.
    """

    name: str
    size: int
    sha256: bytes
    policy: str = ""
    hidden: tuple[str, ...] = ()
    unit: str | None = None
    replace: bool = False
    signed: bytes = b""
    sealed: bytes = b""


class ReleaseKey(Body, frozen=True, tag="release_key"):
    """Owner: let the server have the key of a sealed dataset. Answered by Dataset. sealed: a bastion_tee Release; signed."""

    dataset: str
    sealed: bytes
    signed: bytes = b""


class RevokeKey(Body, frozen=True, tag="revoke_key"):
    """Owner: take the key of a sealed dataset back. Answered by Dataset. Signed."""

    dataset: str
    signed: bytes = b""


class UploadChunk(Body, frozen=True, tag="upload_chunk"):
    """One chunk of `CHUNK` bytes (the last may be shorter) in the data frame. The envelope's id may be 0.

    Not answered one by one: the server sends Credit under the id of UploadBegin, or Failed, which ends the upload.
    """

    upload: str
    seq: int


class UploadEnd(Body, frozen=True, tag="upload_end"):
    """All chunks sent. Answered by Dataset, or Failed and nothing kept."""

    upload: str


class SetPolicy(Body, frozen=True, tag="set_policy"):
    """Change policy text, roles (name -> TOML role text) or access list of a dataset. Owner-signed. Answered by Dataset."""

    dataset: str
    policy: str | None = None
    roles: dict[str, str] | None = None
    allow: tuple[str, ...] | None = None
    signed: bytes = b""


class RequestAccess(Body, frozen=True, tag="request_access"):
    """File an access request for a plan. Idempotent per (plan, versions, policy version, requester). Answered by Request."""

    plan: bytes
    reason: str


class ListRequests(Body, frozen=True, tag="list_requests"):
    """Owners: those for their datasets; users: their own. states: empty for all. Answered by Requests."""

    states: tuple[str, ...] = ()


class GetRequest(Body, frozen=True, tag="get_request"):
    """Answered by Request. look: to read it: an owner is shown what an approval would tell as of now, which counts as seen."""

    request: str
    look: bool = True


class Withdraw(Body, frozen=True, tag="withdraw"):
    """Take back one's own pending request. Answered by Request."""

    request: str


class Decide(Body, frozen=True, tag="decide"):
    """Owner's decision: `decision` "approve" or "deny"; of what was approved to run only, "read" or "withhold"; and "revoke",
    which ends an approval in force. Answered by Request.

    may_run, may_read: the two grants; reading without running is refused ("read" is sent with may_run false and may_read
    true, "deny", "withhold" and "revoke" with both false). until: seconds since 1970, 0 for once within the server's default time.
    signed: identity.sign_statement({"action": "decide", "request": …, "decision": …, "plan_hash": …, …}).
    """

    request: str
    decision: str
    reason: str = ""
    until: float = 0.0
    may_run: bool = True
    may_read: bool = True
    signed: bytes = b""


class AuditShow(Body, frozen=True, tag="audit_show"):
    """Owners and auditors: the last `limit` records that match everything given. Answered by Records.

    who: one identity. kinds: none for all. since, until: seconds since 1970, from the one on and before the other; 0 for no
    bound. red: only those to be shown in red. below: only records before this number, to page back; 0 for no bound.
    """

    dataset: str | None = None
    limit: int = 100
    who: str | None = None
    kinds: tuple[str, ...] = ()
    since: float = 0.0
    until: float = 0.0
    red: bool = False
    below: int = 0


class TryPolicy(Body, frozen=True, tag="try_policy"):
    """Owner: what a policy would make of the last `limit` queries and requests of a dataset. Nothing changes, nothing runs.

    Answered by Tried. policy, roles: as in SetPolicy, not signed; None for as they are.
    """

    dataset: str
    policy: str | None = None
    roles: dict[str, str] | None = None
    limit: int = 100


class Exposure(Body, frozen=True, tag="exposure"):
    """Owner: what has been released of a dataset, by id or name, so far. Answered by Exposed."""

    dataset: str


class ClearFailures(Body, frozen=True, tag="clear_failures"):
    """Owner: count the failed and stopped queries of somebody about a dataset's people no longer. Answered by Cleared.

    who: an identity, or an audience as Exposed calls it; all who count as one with it are cleared. failed: as many as one was shown
    (AudienceExposure.failed); where more count by now nothing is cleared. Signed: {"action": "clear_failures", "dataset", "who", "failed"}.
    """

    dataset: str
    who: str
    failed: int
    signed: bytes = b""


class GetBudget(Body, frozen=True, tag="get_budget"):
    """What is left of the privacy budgets of the datasets one may see. Answered by Budgets."""


class AuditVerify(Body, frozen=True, tag="audit_verify"):
    """Check the whole chain now. Answered by Verified."""


class ModelBegin(Body, frozen=True, tag="model_begin"):
    """Announce a model: `graph` as bastion_plan.models.graph.encode writes it, and the bytes of its first weights (safetensors).

    Answered by UploadReady; then UploadChunk with a data frame each, and UploadEnd, which is answered by Model. Unknown to
    others; gone a day after its last use.
    """

    graph: bytes
    size: int
    sha256: bytes


class Fit(Body, frozen=True, tag="fit"):
    """Train a model (named by Model.model) on the rows of a plan. mode: "run", or "summarize" (nothing spent, nothing run).

    Answered by Run as soon as it has begun, by Denial where an owner has to approve it, or by FitSummary. It goes on where
    its session ends; Push of topic "run" tells how far it is. Sent again while the same fit runs, it is answered by that run.
    """

    plan: bytes
    model: str
    spec: FitSpec
    mode: str = "run"


class RequestFit(Body, frozen=True, tag="request_fit"):
    """File an access request for a fit. Answered by Request."""

    plan: bytes
    model: str
    spec: FitSpec
    reason: str


class ListRuns(Body, frozen=True, tag="list_runs"):
    """One's own fits, and for owners those on their data. Answered by Runs."""


class GetRun(Body, frozen=True, tag="get_run"):
    """Answered by Run."""

    run: str


class StopRun(Body, frozen=True, tag="stop_run"):
    """Stop a fit after the step it is at; what was done is kept and paid. Answered by Run."""

    run: str


class ResumeRun(Body, frozen=True, tag="resume_run"):
    """Go on with a fit from its last checkpoint: the same model, rows and description, for `steps` more. Answered as Fit.

    epsilon: of all its steps together, those before included (private).
    """

    run: str
    steps: int
    epsilon: float = 0.0


class TestRun(Body, frozen=True, tag="test_run"):
    """Measure a trained model on a part of its rows, "train" or "test", with noise and paid. Answered by Metric, or Denial.

    epsilon: 0 for the default share. mode: "run", or "summarize". bound: to which a row's loss or error is clipped, 0 for the
    fit's `loss_bound`.
    """

    __test__ = False
    run: str
    metric: str
    part: str = "test"
    epsilon: float = 0.0
    bound: float = 0.0
    mode: str = "run"


class GetWeights(Body, frozen=True, tag="get_weights"):
    """Take a trained model home: Weights with data frames (safetensors), or Denial."""

    run: str


class DeleteRun(Body, frozen=True, tag="delete_run"):
    """Forget a fit and its checkpoints; what it cost stays spent. Answered by Done."""

    run: str


# ---- answers --------------------------------------------------------------------------------------------------------


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A signed head of the audit log. root: RFC 6962 Merkle root. signature: Ed25519 over `signed_text`."""

    size: int
    root: bytes
    time: float
    signature: bytes

    @property
    def signed_text(self) -> bytes:
        """What the server signs: four lines of text; the time as C's hexadecimal floating-point number."""
        return f"bastionlab.checkpoint.1\n{self.size}\n{self.root.hex()}\n{float(self.time).hex()}\n".encode()


class Failed(Body, frozen=True, tag="failed"):
    """An error: fixed sentences, a stable code; details: plain data."""

    code: str
    message: str
    reason: str = ""
    next_step: str = ""
    details: dict[str, Any] = {}


class Done(Body, frozen=True, tag="done"):
    """Nothing more to say."""


class Shown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a server shows of itself. evidence: bytes of a bastion_tee Evidence, about all the rest here and the audit key of Welcome.

    nonce: the client's. curve_key: the server's. exchange_key: X25519, for dataset keys. config: facts of the server by name, "boot"
    among them, which changes whenever the server is started.
    """

    evidence: bytes
    nonce: bytes
    curve_key: str
    exchange_key: bytes
    config: dict[str, str]


class Welcome(Body, frozen=True, tag="welcome"):
    """Answer to Hello. roles: of this identity ("owner", "user", "admin", "auditor"). shown: evidence about the nonce."""

    server: str
    version: str
    identity: str
    roles: tuple[str, ...]
    verify_key: bytes
    checkpoint: Checkpoint | None = None
    shown: Shown | None = None
    dev: bool = False
    notices: tuple[str, ...] = ()


class Dataset(Body, frozen=True, tag="dataset"):
    """The card of a dataset. warnings: for the owner (unit not declared, roles inferred …)."""

    facts: DatasetFacts
    created: float = 0.0
    kind_of: str = "table"  # or "saved"
    mine: bool = False
    warnings: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()  # owner only
    sealed: str = ""  # where its owner keeps the key: "open" or "locked"


class Datasets(Body, frozen=True, tag="datasets"):
    """All datasets one may see."""

    datasets: tuple[Dataset, ...]


class Progress(Body, frozen=True, tag="progress"):
    """How far: stage is "queued", "judging", "running", "sending", "receiving"; done and total in bytes or steps, total 0 if unknown."""

    stage: str
    done: int = 0
    total: int = 0


class Table(Body, frozen=True, tag="table"):
    """A released table. The Arrow IPC file bytes follow as Chunk messages (small ones are the data frame of this message).

    size: bytes in all. inline: True when the data frame of this very message is everything.
    """

    schema: tuple[tuple[str, DType], ...]
    height: int
    size: int
    plan_hash: str
    note: ReleaseNote
    checkpoint: Checkpoint | None = None
    inline: bool = False
    elapsed: float = 0.0


class Chunk(Body, frozen=True, tag="chunk"):
    """One data frame of a stream; last carries the SHA-256 of the whole."""

    seq: int
    last: bool = False
    sha256: bytes = b""


class Denial(Body, frozen=True, tag="denial"):
    """The guard does not release this. Nothing has been filed.

    outcome: "review" (one may ask the owner) or "refuse". rule, reason, fix: of the leading finding.
    safe_cells of total_cells may be had at once with mode "safe_part" (0 of 0: none, or not told).
    request: an earlier request for the same plan, if there is one. earlier: where history stands in the way, what the requester
    was told of the same columns before, newest first; answers: how many such answers there were.
    """

    outcome: str
    rule: str
    reason: str
    fix: str
    plan_hash: str
    verdict: StaticVerdict
    safe_cells: int = 0
    total_cells: int = 0
    has_safe_part: bool = False
    columns: tuple[str, ...] = ()
    request: RequestInfo | None = None
    checkpoint: Checkpoint | None = None
    earlier: tuple[PastEvent, ...] = ()
    answers: int = 0


class Explained(Body, frozen=True, tag="explained"):
    """The static verdict, without running."""

    plan_hash: str
    verdict: StaticVerdict
    schema: tuple[tuple[str, DType], ...]


class Summary(Body, frozen=True, tag="summary"):
    """What an answer with noise would cost, and how exact it would be; from public facts only.

    noisy: False where this query is not answered with noise (verdict says why); then nothing else is set.
    epsilon: of the answer. cost: what it is charged, 0 where it was given before. affordable: whether that is left.
    """

    plan_hash: str
    verdict: StaticVerdict
    noisy: bool
    epsilon: float = 0.0
    cost: float = 0.0
    bars: tuple[ErrorBar, ...] = ()
    budget: tuple[Budget, ...] = ()
    affordable: bool = False
    notes: tuple[str, ...] = ()


class Budgets(Body, frozen=True, tag="budgets"):
    """One budget per population of people."""

    budgets: tuple[Budget, ...]


class Model(Body, frozen=True, tag="model"):
    """A model that came. model: its name for Fit, made of graph and weights. parameters: numbers that are trained."""

    model: str
    parameters: int = 0


class RunInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fit. state: queued, running, done, stopped (by hand, or the budget ended), failed.

    step of steps: done. rate: steps a second. epsilon: asked for; spent: of the steps so far alone, by Renyi accounting;
    tight: the same by PRV accounting, once it has ended (0: not known); delta: that both are with. noise: multiplier.
    losses: one per epoch, with noise where it is private (None: not a number). metrics: that were measured and paid, by name.
    problem: why it ended, in a sentence. words: what it is, for an owner. mine: whether one started it oneself.
    """

    id: str
    state: str
    requester: str
    datasets: tuple[str, ...]
    model: str
    plan_hash: str
    spec: FitSpec
    created: float
    step: int = 0
    steps: int = 0
    rate: float = 0.0
    epsilon: float = 0.0
    spent: float = 0.0
    tight: float = 0.0
    delta: float = 0.0
    noise: float = 0.0
    parameters: int = 0
    losses: tuple[float | None, ...] = ()
    metrics: dict[str, Any] = {}
    ended: float = 0.0
    code: str = ""
    problem: str = ""
    words: str = ""
    approved: bool = False
    mine: bool = True


class Run(Body, frozen=True, tag="run"):
    """One fit."""

    info: RunInfo


class Runs(Body, frozen=True, tag="runs"):
    """Several, oldest first."""

    runs: tuple[RunInfo, ...]


class FitSummary(Body, frozen=True, tag="fit_summary"):
    """What a fit, or a measurement of a model, would cost; from public facts only.

    outcome: "private" (paid from the budget), "review" (an owner has to approve it) or "refuse", with reason and fix. epsilon: alone. noise:
    multiplier of a fit, or deviation of a metric's counts. share: of the account's cap. affordable: whether that is left.
    memory: bytes that a pass of a fit's step is planned to take on the server; 0 where it was too busy to find out.
    max_steps, max_parameters: that the owners let a fit on this data take, 0 where they do not say; the server has bounds of its own.
    """

    outcome: str
    reason: str = ""
    fix: str = ""
    epsilon: float = 0.0
    delta: float = 0.0
    noise: float = 0.0
    share: float = 0.0
    steps: int = 0
    parameters: int = 0
    memory: int = 0
    budget: tuple[Budget, ...] = ()
    affordable: bool = False
    notes: tuple[str, ...] = ()
    max_steps: int = 0
    max_parameters: int = 0


class Metric(Body, frozen=True, tag="metric"):
    """A measured number (or a matrix), with noise. error: half the width of a bar that holds 95 times of 100, 0 if unknown."""

    name: str
    value: float | None
    matrix: tuple[tuple[float, ...], ...] = ()
    error: float = 0.0
    epsilon: float = 0.0
    part: str = "test"
    noisy: bool = True


class Weights(Body, frozen=True, tag="weights"):
    """Trained weights; safetensors bytes follow as Chunk messages (small ones are the data frame of this message)."""

    info: RunInfo
    size: int
    inline: bool = False


class UploadReady(Body, frozen=True, tag="upload_ready"):
    """Send chunks; window of `credit` in flight."""

    upload: str
    credit: int


class PastEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something a requester (or another of the same audience) asked, was told or was denied before. time: since 1970.

    what: "released", "released in part", "denied", "asked", "approve", … text: the query in plain words, or the reason.
    """

    time: float
    who: str
    what: str
    text: str = ""
    plan_hash: str = ""


class RequestInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An access request. state: pending, approved, denied, expired, withdrawn.

    code: the query as Polars code; words: in plain words; expressions: one by one in plain words. roles, uses: of the source
    columns, by "dataset.column" (uses: statistics, "group key", "condition", "single rows").
    findings_private, history, figures, past: owner only. figures: "people" of the data, "rows" of the result, "cells" that
    would be shown, "hidden_cells" that fail, "merged_cells", "smallest_cell", "coverage", as far as they are known. past:
    newest first; left out of lists.
    may_run, may_read: of an approval: whether the query may run, and its result be read. ran: when it ran, 0 if it has not.
    ended: how the approval ended ("used", "expired", "revoked"), empty while it holds. expires: when a pending request ends
    undecided, seconds since 1970. model, spec: of a fit; with the plan all that is needed to run it once it is approved.
    """

    id: str
    state: str
    requester: str
    reason: str
    plan_hash: str
    datasets: tuple[str, ...]
    created: float
    code: str = ""
    words: str = ""
    columns: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    findings_private: tuple[str, ...] = ()
    decided_by: str = ""
    decided_at: float = 0.0
    answer: str = ""
    until: float = 0.0
    history: tuple[str, ...] = ()
    plan: bytes = b""
    expressions: tuple[str, ...] = ()
    roles: dict[str, str] = {}
    uses: dict[str, tuple[str, ...]] = {}
    figures: dict[str, float] = {}
    past: tuple[PastEvent, ...] = ()
    may_run: bool = True
    may_read: bool = True
    ran: float = 0.0
    ended: str = ""
    expires: float = 0.0
    model: str = ""
    spec: FitSpec | None = None


class Request(Body, frozen=True, tag="request"):
    """One access request."""

    info: RequestInfo


class Requests(Body, frozen=True, tag="requests"):
    """Several."""

    requests: tuple[RequestInfo, ...]


class AuditRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One record of the log."""

    index: int
    time: float
    kind_of: str
    who: str
    summary: str
    dataset: str = ""
    plan_hash: str = ""
    red: bool = False
    details: dict[str, Any] = {}


class Records(Body, frozen=True, tag="records"):
    """Audit records, newest last."""

    records: tuple[AuditRecord, ...]


class ColumnExposure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one audience was told of one column. column: empty for numbers of people.

    uses: use -> number of answers; a statistic ("mean"), "group key", "condition" or "single rows". answers: all of them
    together. cells: shown in answers that this column went into. smallest_cell: people or rows in the smallest of these, 0 if
    unknown. approved, unsafe: answers by approval, and by the action Log. coverage: the largest share (0 to 1) of all people
    that one of the answers was about, None if unknown. last: seconds since 1970.
    """

    audience: str
    column: str
    role: str = ""
    uses: dict[str, int] = {}
    answers: int = 0
    cells: int = 0
    smallest_cell: int = 0
    approved: int = 0
    unsafe: int = 0
    coverage: float | None = None
    last: float = 0.0


class AudienceExposure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one audience was told in all. members: identities that asked or are counted as it.

    answers, approved, unsafe, denied: numbers of queries. coverage: share (0 to 1) of all people who are in some population
    of the history, None if there is no history. rank, rank_limit: of the linear audit of people, independent answers so far
    and at most (None: no audit, or no limit). epsilon: what its answers with noise come to, None if there were none. failed: queries
    about these people, of any of their tables, that failed or were stopped and count; failed_today: of them within a day.
    """

    audience: str
    members: tuple[str, ...] = ()
    answers: int = 0
    approved: int = 0
    unsafe: int = 0
    denied: int = 0
    coverage: float | None = None
    rank: int | None = None
    rank_limit: float | None = None
    epsilon: float | None = None
    last: float = 0.0
    failed: int = 0
    failed_today: int = 0


class Cleared(Body, frozen=True, tag="cleared"):
    """How many failed queries count no longer, and whose: an audience as Exposed calls it."""

    audience: str
    failed: int


class Exposed(Body, frozen=True, tag="exposed"):
    """What has been released of a dataset, all versions together, for its owner.

    untouched: columns that nothing was released of. people: privacy units in the current version. epsilon, delta: the cap
    where the policy adds noise; spent: of it, by all audiences together and over all tables of these people; void: why the
    stated epsilon no longer holds, empty while it does.
    """

    dataset: str
    name: str
    version: int
    people: int
    columns: tuple[ColumnExposure, ...] = ()
    audiences: tuple[AudienceExposure, ...] = ()
    untouched: tuple[str, ...] = ()
    epsilon: float | None = None
    delta: float | None = None
    spent: float | None = None
    void: str = ""


class TriedQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One past query under the policy as it is and under the one that is tried; for the owner's eyes.

    ended: what became of it when it was last asked ("released", "denied: row-level (review)", "approved", …). times: how
    often it was asked, 0 if it was only requested. before, after: static outcome ("release", "review", "refuse", "private"
    where it is answered with noise; empty where the query does not fit any more). rule, reason, fix: of the leading finding
    under the tried policy. measured: what only measuring can tell, in a sentence; empty where nothing is left to measure.
    """

    plan_hash: str
    who: str
    words: str
    ended: str = ""
    times: int = 0
    last: float = 0.0
    request: str = ""
    before: str = ""
    after: str = ""
    rule: str = ""
    reason: str = ""
    fix: str = ""
    measured: str = ""


class Tried(Body, frozen=True, tag="tried"):
    """What a policy would make of past queries, newest first. words: the tried policy in plain words; warnings: for the owner."""

    dataset: str
    name: str
    queries: tuple[TriedQuery, ...] = ()
    words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Verified(Body, frozen=True, tag="verified"):
    """Whether the chain holds; problem in words where it does not."""

    ok: bool
    size: int
    problem: str = ""
    checkpoint: Checkpoint | None = None


# ---- pushes (id 0) --------------------------------------------------------------------------------------------------


class Push(Body, frozen=True, tag="push"):
    """Something happened.

    topic: "decision" (to the requester: an owner decided, or it ended undecided), "request" (to the owners: filed, decided,
    withdrawn, ended, run), "datasets" (to those who may see a dataset that came, changed or went; which one is not said),
    "revoked", "stopping", "run" (to who started a fit: how far it is, or how it ended).
    """

    topic: str
    request: RequestInfo | None = None
    text: str = ""
    run: RunInfo | None = None


AnyRequest = (
    Hello | Ping | ListDatasets | GetDataset | Query | Cancel | Credit | Save | Delete | UploadBegin | UploadChunk | UploadEnd
    | SetPolicy | RequestAccess | ListRequests | GetRequest | Withdraw | Decide | AuditShow | AuditVerify | GetBudget | Exposure | ClearFailures | TryPolicy
    | ReleaseKey | RevokeKey | ModelBegin | Fit | RequestFit | ListRuns | GetRun | StopRun | ResumeRun | TestRun | GetWeights | DeleteRun
)
AnyAnswer = (
    Failed | Done | Welcome | Dataset | Datasets | Progress | Table | Chunk | Denial | Explained | Summary | Budgets | UploadReady | Request
    | Requests | Records | Verified | Exposed | Cleared | Tried | Push | Credit
    | Model | Run | Runs | FitSummary | Metric | Weights
)


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request on the wire."""

    v: int
    id: int
    body: AnyRequest


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer or push on the wire."""

    v: int
    id: int
    body: AnyAnswer
