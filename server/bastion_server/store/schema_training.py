"""The tables of models and fits."""

from __future__ import annotations

TRAINING = """
-- models that scientists sent, each by its sender's name: nobody else may use or find it
CREATE TABLE models (
    name TEXT NOT NULL,
    identity TEXT NOT NULL,
    graph BLOB NOT NULL,
    parameters INTEGER NOT NULL,
    file TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    created REAL NOT NULL,
    used REAL NOT NULL,
    PRIMARY KEY (name, identity)
) STRICT, WITHOUT ROWID;
CREATE INDEX models_used ON models (used);

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'stopped', 'failed')),
    requester TEXT NOT NULL,
    plan BLOB NOT NULL,
    plan_hash TEXT NOT NULL,
    fit_hash TEXT NOT NULL,
    binding BLOB NOT NULL,
    model TEXT NOT NULL,
    graph BLOB NOT NULL,
    parameters INTEGER NOT NULL,
    spec BLOB NOT NULL,
    sigma REAL NOT NULL,
    delta REAL NOT NULL,
    grant_id TEXT NOT NULL DEFAULT '',
    words TEXT NOT NULL,
    created REAL NOT NULL,
    step INTEGER NOT NULL DEFAULT 0,
    paid INTEGER NOT NULL DEFAULT 0,
    -- steps that were paid and that no worker was asked for
    credit INTEGER NOT NULL DEFAULT 0,
    spent REAL NOT NULL DEFAULT 0,
    tight REAL NOT NULL DEFAULT 0,
    losses BLOB NOT NULL DEFAULT x'90',
    code TEXT NOT NULL DEFAULT '',
    problem TEXT NOT NULL DEFAULT '',
    ended REAL NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX runs_requester ON runs (requester, created);
CREATE INDEX runs_fit ON runs (requester, fit_hash);
-- what may be changed is how to go on: more steps, with a larger epsilon of them all
CREATE TRIGGER runs_binding BEFORE UPDATE OF requester, plan, plan_hash, binding, model, graph, sigma, delta, created ON runs
BEGIN SELECT RAISE(ABORT, 'a fit is bound to what was asked'); END;
CREATE TRIGGER runs_paid BEFORE UPDATE OF paid ON runs WHEN NEW.paid < OLD.paid
BEGIN SELECT RAISE(ABORT, 'what was paid stays paid'); END;

CREATE TABLE run_datasets (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    dataset TEXT NOT NULL,
    PRIMARY KEY (run, dataset)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_datasets_dataset ON run_datasets (dataset);

-- what a fit has been charged, by unit domain, in steps
CREATE TABLE run_charges (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    unit_domain TEXT NOT NULL,
    steps INTEGER NOT NULL,
    PRIMARY KEY (run, unit_domain)
) STRICT, WITHOUT ROWID;

-- kind: "checkpoint" (with the optimiser's state; stays here) or "weights" (what may leave)
CREATE TABLE run_files (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('checkpoint', 'weights')),
    step INTEGER NOT NULL,
    file TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (run, kind)
) STRICT, WITHOUT ROWID;

-- who is for testing: a secret for each unit domain
CREATE TABLE split_keys (
    unit_domain TEXT PRIMARY KEY,
    wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- measurements of the weights after a step: noise is drawn once
CREATE TABLE run_metrics (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    metric TEXT NOT NULL,
    part TEXT NOT NULL,
    bound REAL NOT NULL,
    step INTEGER NOT NULL,
    epsilon REAL NOT NULL,
    answer BLOB NOT NULL,
    created REAL NOT NULL,
    PRIMARY KEY (run, metric, part, bound, step, epsilon)
) STRICT;
"""
