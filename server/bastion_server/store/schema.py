"""The tables, as a list of migrations: append to it, never change an entry that was released."""

from __future__ import annotations

from bastion_server.store.schema_training import TRAINING

_FIRST = """
CREATE TABLE datasets (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('table', 'saved')),
    unit_domain TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    policy_version INTEGER NOT NULL CHECK (policy_version >= 1),
    created REAL NOT NULL,
    deleted REAL
) STRICT;
-- names are unique per owner: a name taken by someone else must not tell that their dataset exists
CREATE UNIQUE INDEX datasets_live_name ON datasets (owner, name) WHERE deleted IS NULL;
CREATE INDEX datasets_owner ON datasets (owner);

CREATE TABLE dataset_allow (
    dataset TEXT NOT NULL REFERENCES datasets (id),
    identity TEXT NOT NULL,
    PRIMARY KEY (dataset, identity)
) STRICT, WITHOUT ROWID;

CREATE TABLE dataset_versions (
    dataset TEXT NOT NULL REFERENCES datasets (id),
    version INTEGER NOT NULL,
    private BLOB,
    plan BLOB,
    file TEXT,
    wrapped_key BLOB,
    size INTEGER,
    sha256 BLOB,
    created REAL NOT NULL,
    PRIMARY KEY (dataset, version)
) STRICT, WITHOUT ROWID;

-- every change of what the owner decided: facts hold the policy and the roles
CREATE TABLE policies (
    dataset TEXT NOT NULL REFERENCES datasets (id),
    policy_version INTEGER NOT NULL,
    version INTEGER NOT NULL,
    facts BLOB NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at REAL NOT NULL,
    signed BLOB NOT NULL,
    PRIMARY KEY (dataset, policy_version)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER policies_are_history BEFORE UPDATE ON policies
BEGIN SELECT RAISE(ABORT, 'policies are append-only'); END;

CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'withdrawn')),
    requester TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    binding BLOB NOT NULL,
    plan BLOB NOT NULL,
    reason TEXT NOT NULL,
    shown BLOB NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    decided_by TEXT NOT NULL DEFAULT '',
    decided_at REAL NOT NULL DEFAULT 0,
    answer TEXT NOT NULL DEFAULT ''
) STRICT;
-- at most one open request for the same thing, whatever threads do
CREATE UNIQUE INDEX requests_open ON requests (requester, plan_hash, binding) WHERE state = 'pending';
CREATE INDEX requests_requester ON requests (requester, created);
CREATE INDEX requests_state ON requests (state, expires);
CREATE TRIGGER requests_start_pending BEFORE INSERT ON requests WHEN NEW.state <> 'pending'
BEGIN SELECT RAISE(ABORT, 'a request starts pending'); END;
CREATE TRIGGER requests_transitions BEFORE UPDATE OF state ON requests WHEN OLD.state <> 'pending'
BEGIN SELECT RAISE(ABORT, 'a decided request stays as it is'); END;
CREATE TRIGGER requests_binding BEFORE UPDATE OF requester, plan_hash, binding, plan, created ON requests
BEGIN SELECT RAISE(ABORT, 'a request is bound to what was asked'); END;

CREATE TABLE request_owners (
    request TEXT NOT NULL REFERENCES requests (id),
    owner TEXT NOT NULL,
    decision TEXT NOT NULL DEFAULT '' CHECK (decision IN ('', 'approve', 'deny')),
    decided_at REAL NOT NULL DEFAULT 0,
    answer TEXT NOT NULL DEFAULT '',
    may_run INTEGER NOT NULL DEFAULT 0,
    may_read INTEGER NOT NULL DEFAULT 0,
    single_use INTEGER NOT NULL DEFAULT 1,
    until REAL NOT NULL DEFAULT 0,
    signed BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (request, owner)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_owners_owner ON request_owners (owner);
CREATE TRIGGER request_owners_once BEFORE UPDATE ON request_owners WHEN OLD.decision <> ''
BEGIN SELECT RAISE(ABORT, 'an owner decides once'); END;

CREATE TABLE request_datasets (
    request TEXT NOT NULL REFERENCES requests (id),
    dataset TEXT NOT NULL,
    version INTEGER NOT NULL,
    policy_version INTEGER NOT NULL,
    PRIMARY KEY (request, dataset)
) STRICT, WITHOUT ROWID;
CREATE INDEX request_datasets_dataset ON request_datasets (dataset);

CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    request TEXT NOT NULL UNIQUE REFERENCES requests (id),
    requester TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    binding BLOB NOT NULL,
    may_run INTEGER NOT NULL,
    may_read INTEGER NOT NULL,
    single_use INTEGER NOT NULL,
    until REAL NOT NULL,
    created REAL NOT NULL,
    ended TEXT NOT NULL DEFAULT '' CHECK (ended IN ('', 'used', 'expired', 'revoked')),
    ended_at REAL NOT NULL DEFAULT 0,
    uses INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX grants_lookup ON grants (requester, plan_hash);
CREATE TRIGGER grants_binding
BEFORE UPDATE OF request, requester, plan_hash, binding, may_run, may_read, single_use, until, created ON grants
BEGIN SELECT RAISE(ABORT, 'a grant is bound to what was approved'); END;
CREATE TRIGGER grants_end_once BEFORE UPDATE ON grants WHEN OLD.ended <> ''
BEGIN SELECT RAISE(ABORT, 'a grant that ended stays ended'); END;

CREATE TABLE plans (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    plan BLOB NOT NULL,
    created REAL NOT NULL,
    used REAL NOT NULL,
    UNIQUE (owner, plan_hash)
) STRICT;

-- kept for ever: an owner's statements are few, and a forgotten one could be replayed after the clock was set back
CREATE TABLE statements (
    signer TEXT NOT NULL,
    nonce BLOB NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (signer, nonce)
) STRICT, WITHOUT ROWID;

-- released populations, in the order of their release
CREATE TABLE populations (
    unit_domain TEXT NOT NULL,
    audience TEXT NOT NULL,
    seq INTEGER NOT NULL,
    entry BLOB NOT NULL,
    plan_hash TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (unit_domain, audience, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER populations_are_history BEFORE UPDATE ON populations
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
CREATE TRIGGER populations_stay BEFORE DELETE ON populations
BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
"""

_NO_NAMED_PLANS = "DROP TABLE plans;"

_RESULTS = """
-- what an approval gave, computed once; a row goes when its grant ends
CREATE TABLE results (
    grant_id TEXT PRIMARY KEY REFERENCES grants (id),
    file TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    height INTEGER NOT NULL,
    created REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""

_HISTORIES = """
DROP TABLE populations;
-- what was released before, by unit domain and audience (no audience: the items of the unit domain)
CREATE TABLE histories (
    unit_domain TEXT NOT NULL,
    audience TEXT NOT NULL,
    seq INTEGER NOT NULL,
    file TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    updated REAL NOT NULL,
    PRIMARY KEY (unit_domain, audience)
) STRICT, WITHOUT ROWID;
"""

_LEDGER = """
-- what noisy answers cost, in whole units: rho in 1e-12, delta in 1e-18; nothing is paid back
CREATE TABLE ledger (
    unit_domain TEXT NOT NULL,
    seq INTEGER NOT NULL,
    rho INTEGER NOT NULL CHECK (rho >= 0),
    delta INTEGER NOT NULL CHECK (delta >= 0),
    epsilon REAL NOT NULL,
    plan_hash TEXT NOT NULL,
    requester TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (unit_domain, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER ledger_is_history BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_stays BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
-- why a stated epsilon no longer holds
CREATE TABLE ledger_void (
    unit_domain TEXT NOT NULL,
    seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (unit_domain, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER ledger_void_is_history BEFORE UPDATE ON ledger_void
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_void_stays BEFORE DELETE ON ledger_void
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
-- noise is drawn once for a plan, versions and epsilon
CREATE TABLE noisy_answers (
    plan_hash TEXT NOT NULL,
    binding BLOB NOT NULL,
    epsilon REAL NOT NULL,
    data BLOB NOT NULL,
    height INTEGER NOT NULL,
    note BLOB NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (plan_hash, binding, epsilon)
) STRICT;
"""

_READINGS = """
-- whether what ran under a grant that let it run only may be read: one word of each owner who did not say so before
CREATE TABLE grant_readings (
    grant_id TEXT NOT NULL REFERENCES grants (id),
    owner TEXT NOT NULL,
    allow INTEGER NOT NULL,
    decided_at REAL NOT NULL,
    answer TEXT NOT NULL,
    signed BLOB NOT NULL,
    PRIMARY KEY (grant_id, owner)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER grant_readings_once BEFORE UPDATE ON grant_readings
BEGIN SELECT RAISE(ABORT, 'an owner decides once'); END;
CREATE TRIGGER grant_readings_stay BEFORE DELETE ON grant_readings
BEGIN SELECT RAISE(ABORT, 'an owner decides once'); END;
"""

_AUDIENCES = """
-- who shares whose history, by unit domain; an identity that is not listed is an audience of its own
CREATE TABLE audiences (
    unit_domain TEXT NOT NULL,
    identity TEXT NOT NULL,
    audience TEXT NOT NULL,
    PRIMARY KEY (unit_domain, identity)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER audiences_that_asked_stay BEFORE UPDATE ON audiences
WHEN EXISTS (SELECT 1 FROM histories WHERE unit_domain = OLD.unit_domain AND audience = OLD.audience)
BEGIN SELECT RAISE(ABORT, 'who shared a history goes on sharing it'); END;
CREATE TRIGGER audiences_that_asked_remain BEFORE DELETE ON audiences
WHEN EXISTS (SELECT 1 FROM histories WHERE unit_domain = OLD.unit_domain AND audience = OLD.audience)
BEGIN SELECT RAISE(ABORT, 'who shared a history goes on sharing it'); END;
"""

_OWNERS = """
-- an owner's word that ended an approval in force
CREATE TABLE grant_revocations (
    grant_id TEXT PRIMARY KEY REFERENCES grants (id),
    owner TEXT NOT NULL,
    decided_at REAL NOT NULL,
    answer TEXT NOT NULL,
    signed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER grant_revocations_once BEFORE UPDATE ON grant_revocations
BEGIN SELECT RAISE(ABORT, 'an owner decides once'); END;
CREATE TRIGGER grant_revocations_stay BEFORE DELETE ON grant_revocations
BEGIN SELECT RAISE(ABORT, 'an owner decides once'); END;
-- the last queries of a dataset, to try another policy on: a help for its owner, no record
CREATE TABLE asked (
    dataset TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    requester TEXT NOT NULL,
    plan BLOB NOT NULL,
    times INTEGER NOT NULL,
    last REAL NOT NULL,
    PRIMARY KEY (dataset, plan_hash, requester)
) STRICT;
CREATE INDEX asked_last ON asked (dataset, last);
"""

_IDENTITIES = """
-- the key that a name had when its holder last came; requests filed before are of those who had the name then
CREATE TABLE identities (
    name TEXT PRIMARY KEY,
    verify_key BLOB NOT NULL,
    since REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""

_STEPS = """
-- of a line of the ledger that paid for steps of training: which, so that what they come to can be worked out at any order
CREATE TABLE ledger_steps (
    unit_domain TEXT NOT NULL,
    seq INTEGER NOT NULL,
    rate REAL NOT NULL,
    sigma REAL NOT NULL,
    steps INTEGER NOT NULL CHECK (steps > 0),
    PRIMARY KEY (unit_domain, seq)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER ledger_steps_are_history BEFORE UPDATE ON ledger_steps
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_steps_stay BEFORE DELETE ON ledger_steps
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""

_OWNER_SEALED = """
-- whether its owner keeps the key: rows and measured facts are then encrypted by it
ALTER TABLE datasets ADD COLUMN owner_sealed INTEGER NOT NULL DEFAULT 0;
"""

_WITNESSES = """
-- of unit domains with sealed tables: what their rows add up to, encrypted by the owners' keys
CREATE TABLE witnesses (
    unit_domain TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
-- which model a request for a fit stands for, so that it is kept
ALTER TABLE requests ADD COLUMN model TEXT NOT NULL DEFAULT '';
"""

MIGRATIONS: tuple[str, ...] = (
    _FIRST, _NO_NAMED_PLANS, _RESULTS, _HISTORIES, _LEDGER, _READINGS, _AUDIENCES, _OWNERS, _IDENTITIES, _STEPS, TRAINING,
    _OWNER_SEALED, _WITNESSES,
)  # fmt: skip
