"""A process that writes into a store as fast as it can and tells, line by line, what was acknowledged; to be killed."""

from __future__ import annotations

import os
import random
import sys
import threading

from bastion_server.store import Record, Store
from store_facts import PRIVATE, facts


def acknowledge(*words: object) -> None:
    """Write one line in one call, so that it is told wholly or not at all."""
    os.write(1, (" ".join(str(w) for w in words) + "\n").encode())


def log_records(store: Store, number: int) -> None:
    """Append audit records."""
    for i in range(100_000):
        index = store.audit.append_blocking(Record(1000.0, "note", f"w{number}", f"{number}-{i}" + "x" * (i % 300)))
        acknowledge("audit", index, f"w{number}", i)


def upload(store: Store, rng: random.Random) -> None:
    """Seal and register datasets, replace some."""
    for i in range(100_000):
        data = rng.randbytes(rng.choice([10, 5000, 1_200_000]))
        identifier = f"d-{os.getpid()}-{i}"
        with store.sealed.writer() as writer:
            writer.write(data)
            ref = writer.commit()
        store.datasets.add(facts(identifier, identifier), PRIVATE, sealed=ref, now=1000.0)
        acknowledge("dataset", identifier, ref.sha256.hex())
        request, _ = store.requests.file(
            plan_hash="h", plan=b"p", versions={identifier: 1}, policy_versions={identifier: 1}, requester=identifier,
            owners=("olga",), reason="", now=1000.0,
        )  # fmt: skip
        acknowledge("request", request.id)
        decided = store.requests.decide(request.id, owner="olga", approve=True, now=1001.0)
        assert decided.grant is not None
        acknowledge("approved", request.id)
        store.grants.use(decided.grant.id, 1002.0)
        acknowledge("used", request.id)


def main() -> None:
    """Write until killed. Arguments: directory, seed."""
    store = Store.open(sys.argv[1], 1000.0)
    acknowledge("open")
    for number in range(4):
        threading.Thread(target=log_records, args=(store, number), daemon=True).start()
    upload(store, random.Random(int(sys.argv[2])))


if __name__ == "__main__":
    main()
