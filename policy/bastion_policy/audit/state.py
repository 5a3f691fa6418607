"""The audit of one source column for one audience: what was released, and whether more may be."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from bastion_plan.errors import InputError, ServerError

from bastion_policy.audit import checks
from bastion_policy.audit.atoms import Atoms, Met
from bastion_policy.audit.primes import Floats, draw, inverse, shrink
from bastion_policy.audit.rows import Row, Units, counted, distinct
from bastion_policy.audit.space import CHUNK, Space, touched


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one state may hold; beyond it nothing is cleared.

    Memory of a state: labels 4 bytes per unit; 12 bytes per echelon row (or hidden cell) and atom; released rows 1 byte
    per atom (8 where weighted). `consider` holds the old state, the new one and 64 rows of working space. With these
    values: 400 MB a state, 1 GB while it is asked, at the very limit.

    Attributes:
        units: units of the domain.
        atoms: classes of units that releases tell apart.
        rank: independent released rows.
        hidden: hidden cells that are watched.
        entries: (rank + hidden) * atoms.
        batch: rows asked at once.
    """

    units: int = 1 << 25
    atoms: int = 32_768
    rank: int = 1_024
    hidden: int = 1_024
    entries: int = 1 << 25
    batch: int = 8_192


@dataclass(frozen=True, slots=True)
class AuditRules:
    """What is refused.

    Attributes:
        k: smallest number of units a released combination may tell about; k >= 2.
        people: where several units of the system belong to one person (see AuditState.owner), the smallest number of people;
            k is then what proves it: more units than (people - 1) * M, with M of a person at most.
        pairs: also combine the rows of the echelon form two by two (strict).
        share: rank budget, as a share of the atoms (see `checks.budget`); None: none.
        tau: leverage cap; None: none.
        capacity: limits of the state.
    """

    k: int = 10
    pairs: bool = False
    share: float | None = 0.33
    tau: float | None = None
    capacity: Capacity = field(default_factory=Capacity)
    people: int | None = None

    def __post_init__(self) -> None:
        ok = self.k >= 2 and (self.share is None or 0 < self.share <= 1) and (self.tau is None or 0 < self.tau <= 1)
        if not ok:
            raise InputError(
                "The audit's rules need k >= 2, 0 < share <= 1 and 0 < tau <= 1.", code="input.audit.rules"
            )


class Clearance(enum.Enum):
    """What the audit says of rows. INVARIANT: only `CLEARED` releases anything."""

    CLEARED = "cleared"
    REFUSED = "refused"
    BEYOND_CAPACITY = "beyond capacity"


@dataclass(frozen=True, slots=True, eq=False)
class AuditVerdict:
    """The audit's answer about a batch of rows.

    Attributes:
        clearance: whether all of the batch may be released together.
        rule: what refuses it: population (a row of fewer than k units), weights, unit, atom, support, pair, suppressed,
            leverage, saturation, doubt; beyond capacity: units, atoms, rank, hidden, entries, batch or pairs.
        row: the row of the batch at fault, where one alone is; see `AuditState.releasable` for the others.
        rank, atoms: of the state the verdict leads to (of the old one, if it is not cleared).
        exposed: hidden cells of the batch that earlier releases determine already; they can no longer be protected.
        base, state: the state that was asked, and the one with the rows in it (None unless cleared).
    """

    clearance: Clearance
    rule: str
    row: int | None
    rank: int
    atoms: int
    exposed: tuple[int, ...]
    base: AuditState
    state: AuditState | None

    @property
    def cleared(self) -> bool:
        """Whether the rows may be released."""
        return self.clearance is Clearance.CLEARED


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """Which rows of a batch may be released.

    Attributes:
        accepted: row numbers, ascending.
        refused: per other row the verdict that refused it.
        exposed: hidden cells that earlier releases determine already.
        base, state: the state that was asked, and the one with the accepted rows and the hidden cells in it.
    """

    accepted: tuple[int, ...]
    refused: dict[int, AuditVerdict]
    exposed: tuple[int, ...]
    base: AuditState
    state: AuditState


@dataclass(frozen=True, slots=True, eq=False)
class AuditState:
    """What was released of one column. Never changed in place: `consider` asks, `commit` returns the next state.

    Attributes:
        rules: what is refused.
        seed: where the primes come from. Secret: see `primes.draw`.
        atoms: classes of units.
        space: row space of what was released.
        released: the independent released rows over atoms (uint8, weighted: float64).
        concealed: the hidden cells over atoms, as `released`.
        owner: whose each unit is (small whole numbers), where several units belong to one person; else None.
    """

    rules: AuditRules
    seed: bytes
    atoms: Atoms
    space: Space
    released: tuple[np.ndarray, ...] = ()
    concealed: tuple[np.ndarray, ...] = ()
    owner: np.ndarray | None = None

    @classmethod
    def start(cls, units: int, rules: AuditRules, seed: bytes) -> AuditState:
        """Return the state in which nothing was released about `units` units; `seed`: 16 or more secret random bytes."""
        if units < 0 or len(seed) < 16:
            raise InputError("An audit needs a number of units and a seed of 16 bytes.", code="input.audit.start")
        # beyond the capacity no label is ever stored
        atoms = Atoms.whole(units if units <= rules.capacity.units else 0)
        return cls(rules, seed, atoms, Space.empty(draw(seed), atoms.sizes.size))

    @classmethod
    def over(cls, atoms: Atoms, partitions: Sequence[Units], rules: AuditRules, seed: bytes) -> AuditState | None:
        """Return the state in which partitions are released: per atom, the cell that it is in, -1 for none.

        None: beyond capacity.
        """
        if len(seed) < 16:
            raise InputError("An audit needs a seed of 16 bytes.", code="input.audit.start")
        capacity = rules.capacity
        if atoms.labels.size > capacity.units or atoms.sizes.size > capacity.atoms or not atoms.sizes.all():
            return None
        state: AuditState | None = cls(rules, seed, atoms, Space.empty(draw(seed), atoms.sizes.size))
        for row in partitions:
            _, cell = np.unique(row, return_inverse=True)
            # cells of one partition are independent: more of them than can be held need not be tried
            count = np.unique(row[row >= 0]).size
            if state is None or count > capacity.rank:
                return None
            state = state._knowing(cell - (int(cell.max(initial=-1)) + 1 - count), count)
        return state

    @property
    def rank(self) -> int:
        """The number of independent released rows."""
        return self.space.rank

    @property
    def complete(self) -> bool:
        """Whether it is certain that no vector of the row space has a support below k (see the package's page)."""
        most = 2 if self.rules.pairs else 1
        return checks.small_rows(self.space, self.sizes(self.atoms), self.rules.k) <= most

    @property
    def size(self) -> int:
        """Bytes of memory that the state holds."""
        arrays = [*self.space.rows, *self.space.hidden, *self.released, *self.concealed, self.atoms.labels]
        return sum(a.nbytes for a in arrays)

    def people(self, atoms: Atoms, of: npt.NDArray[np.bool_] | None = None) -> Units:
        """Return the distinct people of all atoms, or of some and 0 for the others."""
        if self.owner is None:
            return atoms.sizes
        if of is None:
            return counted(atoms.labels, self.owner, atoms.sizes.size)
        units = np.flatnonzero(of[atoms.labels])
        return counted(atoms.labels[units], self.owner[units], atoms.sizes.size)

    def _whose(self, atoms: Atoms) -> checks.People | None:
        """Return whose the units of atoms are, where several are one person's."""
        if self.owner is None or self.rules.people is None:
            return None
        owners = int(self.owner.max(initial=0)) + 1
        pairs = distinct(atoms.labels.astype(np.int64) * owners + self.owner)
        return checks.People(pairs // owners, pairs % owners, self.rules.people)

    def sizes(self, atoms: Atoms) -> Units:
        """Return what an atom counts for in a support.

        INVARIANT: a support that touches an atom of k people is of k people at least; the others have at most M units of a
        person, so k units (see `AuditRules.people`) prove it. Units of several small atoms may be one person's: where there are
        fewer, people are counted.
        """
        rules = self.rules
        small = atoms.sizes < rules.k
        if self.owner is None or rules.people is None or not small.any():
            return atoms.sizes
        return np.where(self.people(atoms, small) >= rules.people, rules.k, atoms.sizes)

    def _enough(self, row: Row) -> bool:
        """Whether a row alone is of enough people."""
        if row.units.size >= self.rules.k or self.owner is None or self.rules.people is None:
            return row.units.size >= self.rules.k
        return int(distinct(self.owner[row.units]).size) >= self.rules.people

    # -- asking

    def consider(self, rows: Sequence[Row], hidden: Sequence[Row] = ()) -> AuditVerdict:
        """Say whether `rows` may be released together, while `hidden` cells of the same answer are withheld.

        Cost: about 12 * rank * rows * atoms multiplications; see docs/benchmarks.md.
        """
        capacity = self.rules.capacity
        asked = [*rows, *hidden]
        if len(asked) > capacity.batch:
            return self._beyond("batch")
        for i, row in enumerate(asked):
            mine = i if i < len(rows) else None
            if row.units.size and row.units[-1] >= self.atoms.labels.size:
                return self._beyond("units", mine)
            if not row.exact:
                return self._refused("weights", mine)
            # INVARIANT: a population below k is refused by itself, whatever the row space says of it
            if mine is not None and row.units.size and not self._enough(row):
                return self._refused("population", mine)
        split = self.atoms.split(asked, capacity.atoms)
        if split is None:
            return self._beyond("atoms")
        atoms, parent = split
        if (self.rank + len(self.concealed) + len(hidden)) * atoms.sizes.size > capacity.entries:
            return self._beyond("entries")
        sizes = self.sizes(atoms)
        space: Space | None = self.space.split(parent, sizes).settled(sizes, self.rules.k)
        if space is None:
            return self._refused("doubt")
        released, concealed = self._over(parent)
        state = AuditState(self.rules, self.seed, atoms, space, released, concealed, self.owner)
        state, exposed = state._conceal(hidden)
        if len(state.concealed) > capacity.hidden:
            return self._beyond("hidden")
        for i in range(0, len(rows), CHUNK):
            entered = state._release(rows[i : i + CHUNK])
            if isinstance(entered, tuple):
                clearance, rule = entered
                return self._verdict(clearance, rule, 0 if len(rows) == 1 else None)
            state = entered
        if state.rank == self.rank:
            # what is released lies in the old row space: it tells nothing new
            state = self if len(state.concealed) == len(self.concealed) else state
            return AuditVerdict(Clearance.CLEARED, "", None, state.rank, state.atoms.sizes.size, exposed, self, state)
        found = state._forbidden()
        if found is not None:
            return self._verdict(*found, 0 if len(rows) == 1 else None)
        return AuditVerdict(Clearance.CLEARED, "", None, state.rank, atoms.sizes.size, exposed, self, state)

    def commit(self, verdict: AuditVerdict | Released) -> AuditState:
        """Return the state in which the rows of a cleared verdict (or the accepted rows) are released.

        INVARIANT: a verdict holds only for the state that gave it: two queries cannot both be cleared against the same state.

        Raises:
            ServerError: the verdict is not cleared, or another state gave it.
        """
        if verdict.base is not self or verdict.state is None:
            raise ServerError("An audit was asked of another state than the one it enters.", code="server.audit.stale")
        return verdict.state

    def releasable(self, rows: Sequence[Row], hidden: Sequence[Row] = ()) -> Released:
        """Return which `rows` may be released, and the state with them in it.

        Rows first of which each by itself, beside what was released, is what must not be: they are refused whatever else is.
        Order of the others: the batch as a whole; where it is refused, its first half and then, given what that took, its second half, down
        to single rows. So earlier rows win, and the same rows, order and state give the same answer.

        The hidden cells enter first; if they alone do not fit, nothing is released.
        """
        alone = self.consider((), hidden) if hidden else None
        if alone is not None and alone.state is None:
            return Released((), dict.fromkeys(range(len(rows)), alone), (), self, self)
        state = self if alone is None or alone.state is None else alone.state
        accepted: list[int] = []
        refused: dict[int, AuditVerdict] = {}
        if len(rows) > 1:
            refused |= state._hopeless(rows)
        waiting: list[Sequence[int]] = [[i for i in range(len(rows)) if i not in refused]]
        while waiting:
            part = waiting.pop()
            if not part:
                continue
            verdict = state.consider([rows[i] for i in part])
            if verdict.state is not None:
                state = verdict.state
                accepted += part
            elif verdict.row is not None or len(part) == 1:
                # a row that is refused for itself leaves the others to be asked again
                at = verdict.row or 0
                refused[part[at]] = verdict
                waiting += [rest for rest in (part[at + 1 :], part[:at]) if rest]
            else:
                half = len(part) // 2
                waiting += [part[half:], part[:half]]
        return Released(tuple(sorted(accepted)), refused, alone.exposed if alone else (), self, state)

    def _hopeless(self, rows: Sequence[Row]) -> dict[int, AuditVerdict]:
        """Return the rows whose remainder has too small a support, so that no state with them in it is allowed.

        A matter of time alone: of many rows most of which are refused, each would be asked again with every half it is in.
        """
        units = self.atoms.labels.size
        fine = [i for i, r in enumerate(rows) if r.exact and r.units.size and r.units[-1] < units and self._enough(r)]
        if not fine:
            return {}
        split = self.atoms.split([rows[i] for i in fine], self.rules.capacity.atoms)
        if split is None:
            return {}
        atoms, parent = split
        if (self.rank + CHUNK) * atoms.sizes.size > self.rules.capacity.entries:
            return {}
        sizes = self.sizes(atoms)
        space = self.space.split(parent, sizes)
        people = self._whose(atoms)
        found: dict[int, AuditVerdict] = {}
        for start in range(0, len(fine), CHUNK):
            some = fine[start : start + CHUNK]
            left = touched(space.remainder(np.stack([atoms.vector(rows[i]) for i in some])))
            for i, support in zip(some, left, strict=True):
                isolated = checks.isolated(np.flatnonzero(support), sizes, self.rules.k, people)
                if isolated is not None:
                    found[i] = self._refused(isolated.rule, i)
        return found

    def knowing(self, rows: Sequence[Row], hidden: Sequence[Row] = ()) -> AuditState | None:
        """Return the state in which `rows` are released already, whatever the rules say of them; None: beyond capacity.

        For what was released without the audit: while all atoms had k units or more, or by the owner.
        """
        split = self.atoms.split([*rows, *hidden], self.rules.capacity.atoms)
        if split is None or any(row.units.size and row.units[-1] >= self.atoms.labels.size for row in [*rows, *hidden]):
            return None
        atoms, parent = split
        sizes = self.sizes(atoms)
        space = self.space.split(parent, sizes).settled(sizes, self.rules.k)
        if space is None:
            return None
        released, concealed = self._over(parent)
        state = AuditState(self.rules, self.seed, atoms, space, released, concealed, self.owner)
        for i in range(0, len(rows), CHUNK):
            entered = state._release(rows[i : i + CHUNK])
            if isinstance(entered, tuple):
                return None
            state = entered
        return state._conceal(hidden)[0]

    def knowing_cells(self, met: Met, cells: Units) -> AuditState | None:
        """As `knowing`, of disjoint rows: some cells. met: how the atoms of this state meet all of them."""
        cut = self.atoms.cut(met, cells, self.rules.capacity.atoms) if met.at.size == self.atoms.labels.size else None
        if cut is None or not self.atoms.sizes.all():
            return None
        atoms, parent, row = cut
        sizes = self.sizes(atoms)
        space = self.space.split(parent, sizes).settled(sizes, self.rules.k)
        if space is None:
            return None
        released, concealed = self._over(parent)
        return AuditState(self.rules, self.seed, atoms, space, released, concealed, self.owner)._knowing(
            row, cells.size
        )

    def _knowing(self, row: Units, count: int) -> AuditState | None:
        """Return the state in which disjoint rows are released, unchecked. row: the one that each atom is in, -1 for none."""
        state = self
        for start in range(0, count, CHUNK):
            some = np.arange(start, min(start + CHUNK, count))
            entered = state.entered((row[None, :] == some[:, None]).astype(np.float64))
            if isinstance(entered, tuple):
                return None
            state = entered
        return state

    def follows(self, row: Row) -> Units | None:
        """Return the units of a population that differs from `row` by fewer than k and whose number follows already.

        With the row in the space, a vector v on fewer than k units is a * row plus what was released; so row - v / a is made
        of what was released alone. Where it is of zeros and ones it is a population's. None: none was found. This is a
        search and no clearance: what it finds is to be considered like any other row.
        """
        entering = self._entering(row)
        if entering is None:
            return None
        atoms, space, left, wider = entering
        every = np.flatnonzero((left[0] != 0) & (left[1] != 0) & (left[2] != 0))
        if not every.size:
            return None
        vector = atoms.vector(row)
        at = every[0] % vector.size
        for number in self._short(atoms, wider):
            found = []
            lone = [r[number : number + 1].astype(np.float64) for r in wider.rows]
            for v, rest, start, prime in zip(lone, space.reduce(lone), left, space.primes, strict=True):
                share = rest[0, at] * inverse(start[0, at], prime) % prime
                if share:
                    found.append(shrink(vector - shrink(v[0] * inverse(share, prime), prime), prime))
            if len(found) == 3 and all(bool(((f == 0) | (f == 1)).all()) for f in found):
                inside = found[0] == 1
                if all(bool((f == found[0]).all()) for f in found):
                    return np.flatnonzero(inside[atoms.labels])
        return None

    def nearly(self, row: Row) -> bool:
        """Whether the number of a row follows from what was released, or that of another one does that differs by fewer than k units.

        As far as single rows of the echelon form show; in doubt, it does.
        """
        entering = self._entering(row)
        if entering is None:
            return True
        atoms, space, left, wider = entering
        short = self._short(atoms, wider)
        # of those with fewer than k units, what was not there before
        rest = space.reduce([r[short].astype(np.float64) for r in wider.rows])
        return not touched(left).any() or bool(touched(rest).any())

    def _entering(self, row: Row) -> tuple[Atoms, Space, list[Floats], Space] | None:
        """Return (atoms, space without a row, the row modulo it, space with it); None: in doubt, or too large."""
        split = self.atoms.split([row], self.rules.capacity.atoms)
        if split is None or not row.exact:
            return None
        atoms, parent = split
        sizes, k = self.sizes(atoms), self.rules.k
        space = self.space.split(parent, sizes).settled(sizes, k)
        if space is None:
            return None
        left = space.remainder(atoms.vector(row)[None, :])
        entered = space.enter(left, sizes, k)
        return None if entered is None else (atoms, space, left, entered[0])

    def _short(self, atoms: Atoms, space: Space) -> Units:
        """Return the rows of the echelon form with fewer than k units, the fewest first."""
        sizes, k = self.sizes(atoms), self.rules.k
        small = np.flatnonzero(sizes[space.pivots] < k)
        support = touched(tuple(r[small] for r in space.rows)) @ sizes
        return small[np.argsort(support, kind="stable")][: int((support < k).sum())]

    def reserve(self, rows: Sequence[Row]) -> AuditVerdict:
        """Consider margins that must stay answerable: committed, they count as released, so that asking them is free.

        They are judged as any release, and use the rank budget.
        """
        return self.consider(rows)

    def grown(self, units: int) -> AuditState:
        """Return the state for a domain with `units` more units, which no release has touched.

        Values that were *changed* for old units are other unknowns: they need a state of their own.
        """
        if units < 0:
            raise InputError("A domain of units does not shrink.", code="input.audit.units")
        total = self.atoms.labels.size + units
        if not units:
            return self
        if total > self.rules.capacity.units or self.atoms.sizes.size + 1 > self.rules.capacity.atoms:
            # INVARIANT: units that find no room have no label, and rows that name them are beyond capacity
            return self
        untouched = np.ones(self.atoms.sizes.size, bool)
        for row in (*self.released, *self.concealed):
            untouched &= row == 0
        place = int(np.argmax(untouched)) if untouched.any() else self.atoms.sizes.size
        state = self
        if place == self.atoms.sizes.size:
            rows, hidden = (
                tuple(np.concatenate([r, np.zeros((r.shape[0], 1), np.float32)], axis=1) for r in part)
                for part in (self.space.rows, self.space.hidden)
            )
            over = [tuple(np.append(r, np.zeros(1, r.dtype)) for r in part) for part in (self.released, self.concealed)]
            space = replace(self.space, rows=rows, hidden=hidden)
            sizes = np.append(self.atoms.sizes, 0)
            state = replace(
                self, atoms=Atoms(self.atoms.labels, sizes), space=space, released=over[0], concealed=over[1]
            )
        sizes = state.atoms.sizes.copy()
        sizes[place] += units
        labels = np.concatenate([state.atoms.labels, np.full(units, place, np.int32)])
        return replace(state, atoms=Atoms(labels, sizes))

    # -- the steps

    def _over(self, parent: Units) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
        if parent.size == self.atoms.sizes.size:
            return self.released, self.concealed
        return tuple(r[parent] for r in self.released), tuple(r[parent] for r in self.concealed)

    def _vectors(self, rows: Sequence[Row]) -> Floats:
        return np.stack([self.atoms.vector(row) for row in rows])

    def _conceal(self, hidden: Sequence[Row]) -> tuple[AuditState, tuple[int, ...]]:
        """Watch the hidden cells that are not determined yet; return the numbers of the others."""
        space, concealed, exposed = self.space, self.concealed, []
        known = {c.tobytes() for c in concealed}
        for start in range(0, len(hidden), CHUNK):
            vectors = self._vectors(hidden[start : start + CHUNK])
            rest = space.remainder(vectors)
            fresh = []
            for i, (vector, unknown) in enumerate(
                zip(vectors, (touched(v) for v in zip(*rest, strict=True)), strict=True)
            ):
                row = compact(vector)
                if not unknown.any() and vector.any():
                    exposed.append(start + i)
                elif vector.any() and row.tobytes() not in known:
                    known.add(row.tobytes())
                    concealed = (*concealed, row)
                    fresh.append(i)
            space = space.hiding([v[fresh] for v in rest])
        return replace(self, space=space, concealed=concealed), tuple(exposed)

    def _release(self, rows: Sequence[Row]) -> AuditState | tuple[Clearance, str]:
        """Return the state with rows added whose atoms are split already, unchecked."""
        return self.entered(self._vectors(rows))

    def entered(self, vectors: Floats) -> AuditState | tuple[Clearance, str]:
        """Return the state with rows over its atoms added, unchecked but for capacity and doubt."""
        entered = self.space.enter(self.space.remainder(vectors), self.sizes(self.atoms), self.rules.k)
        if entered is None:
            return Clearance.REFUSED, "doubt"
        space, independent = entered
        capacity = self.rules.capacity
        if space.rank > self.rank:
            if space.rank > capacity.rank:
                return Clearance.BEYOND_CAPACITY, "rank"
            if (space.rank + len(self.concealed)) * self.atoms.sizes.size > capacity.entries:
                return Clearance.BEYOND_CAPACITY, "entries"
        added = tuple(compact(v) for v in vectors[independent])
        return replace(self, space=space, released=(*self.released, *added))

    def _forbidden(self) -> tuple[Clearance, str] | None:
        """Return why this state must not come to be."""
        rules, space, sizes = self.rules, self.space, self.sizes(self.atoms)
        if rules.share is not None and space.rank > checks.budget(
            self.people(self.atoms), rules.people or rules.k, rules.share
        ):
            return Clearance.REFUSED, "saturation"
        if checks.suppressed(space):
            return Clearance.REFUSED, "suppressed"
        found = checks.small_support(space, sizes, rules.k, self._whose(self.atoms))
        if found is not None:
            return Clearance.REFUSED, found.rule
        if rules.pairs:
            pair = checks.pairs(space, sizes, rules.k)
            if isinstance(pair, bool):
                return Clearance.BEYOND_CAPACITY, "pairs"
            if pair is not None:
                return Clearance.REFUSED, pair.rule
        if rules.tau is not None and self.released:
            high = checks.leverage(np.stack(self.released).astype(np.float64), sizes, rules.tau)
            if high is not None:
                return Clearance.REFUSED, "doubt" if isinstance(high, bool) else high.rule
        return None

    def _verdict(self, clearance: Clearance, rule: str, row: int | None) -> AuditVerdict:
        return AuditVerdict(clearance, rule, row, self.rank, self.atoms.sizes.size, (), self, None)

    def _refused(self, rule: str, row: int | None = None) -> AuditVerdict:
        return self._verdict(Clearance.REFUSED, rule, row)

    def _beyond(self, rule: str, row: int | None = None) -> AuditVerdict:
        return self._verdict(Clearance.BEYOND_CAPACITY, rule, row)


def compact(vector: Floats) -> np.ndarray:
    """Return a row over atoms as uint8 where it is zeros and ones, else as it is."""
    whole = bool(((vector == 0) | (vector == 1)).all())
    return vector.astype(np.uint8) if whole else np.array(vector)
