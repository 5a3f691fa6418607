"""What the history does for all cells at once is what it would do cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars
import pytest
from bastion_plan.errors import ServerError
from bastion_policy.audit import AuditRules, AuditState, Capacity, Row, decode, encode
from bastion_policy.audit import atoms as atoms_page
from bastion_policy.audit.atoms import Atoms, Met, summed
from bastion_policy.audit.space import touched
from bastion_policy.history import Channel, Columns, Past, Sets
from bastion_policy.history.encoding import pack_past, unpack_past
from bastion_policy.history.hidden import Hidden
from bastion_policy.history.past import audited
from bastion_policy.model import Policy, Role, RoleKind
from drive import World
from hypothesis import given, settings
from hypothesis import strategies as st
from query import Q

import bastion.expressions as pl

SEED = b"a seed for tests of audits"
RULES = AuditRules(k=4, share=None)


@st.composite
def partitions(draw: st.DrawFn) -> list[np.ndarray]:
    """Some partitions of the same people: the cell of each, -1 for none."""
    size, count = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    cells = st.lists(st.integers(-1, 3), min_size=size, max_size=size)
    return [np.array(draw(cells), np.int32) for _ in range(count)]


@given(partitions(), st.sampled_from([1, 3, 1 << 17]))
def test_how_atoms_and_cells_meet(parts: list[np.ndarray], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atoms_page, "PIECE", piece)
        labels, atoms = np.zeros(parts[0].size, np.int32), 1
        for place in parts:
            met = Met.of(labels, atoms, place, 4)
            tight = Met.of(labels, atoms, place, max(1, int(place.max()) + 1))
            for one, other in zip(
                (met.atom, met.cell, met.size, met.at), (tight.atom, tight.cell, tight.size, tight.at), strict=True
            ):
                assert one.tolist() == other.tolist(), "however many cells there could be"
            pairs = sorted(set(zip(labels.tolist(), place.tolist(), strict=True)))
            assert list(zip(met.atom.tolist(), met.cell.tolist(), strict=True)) == pairs
            assert [pairs[at] for at in met.at] == list(zip(labels.tolist(), place.tolist(), strict=True))
            assert met.size.tolist() == np.bincount(met.at).tolist() == summed(met.at, None, len(pairs)).tolist()
            merged = met.merged(np.minimum(met.cell, 0))
            assert (np.diff(merged.atom * 2 + merged.cell) > 0).all(), "each pair once, in order"
            assert (merged.atom[merged.at] == labels).all() and (merged.cell[merged.at] == np.minimum(place, 0)).all()
            labels, atoms = met.at, met.atom.size


def same_space(one: AuditState, other: AuditState) -> bool:
    """Whether two states have one row space over the same people."""
    assert one.rank == other.rank
    for here, there in ((one, other), (other, one)):
        rows = [here.atoms.labels, *here.released]
        for row in rows[1:]:
            units = Row.of(np.flatnonzero(row[here.atoms.labels]))
            split = there.atoms.split([units], 1 << 20)
            assert split is not None
            atoms, parent = split
            space = there.space.split(parent, atoms.sizes)
            if touched(space.remainder(atoms.vector(units)[None, :])).any():
                return False
    return True


@given(partitions())
def test_cells_that_are_known_at_once(parts: list[np.ndarray]) -> None:
    each = at_once = AuditState.start(parts[0].size, RULES, SEED)
    channel = Channel.empty(parts[0].size)
    for place in parts:
        cells = np.unique(place[place >= 0])
        known = each.knowing([Row.of(np.flatnonzero(place == cell)) for cell in cells])
        met = Met.of(at_once.atoms.labels, at_once.atoms.sizes.size, place, 4)
        again = at_once.knowing_cells(met, cells)
        assert known is not None and again is not None and same_space(known, again)
        each, at_once = known, again
        channel = channel.released(Sets.of(4, place[place >= 0], np.flatnonzero(place >= 0), place.size))
    stored = audited(channel, RULES, SEED)
    assert stored is not None and same_space(each, stored)
    assert (audited(channel, replace(RULES, capacity=Capacity(rank=each.rank)), SEED) is None) is False
    if each.rank:
        assert audited(channel, replace(RULES, capacity=Capacity(rank=each.rank - 1)), SEED) is None
        low = replace(at_once, rules=replace(RULES, capacity=Capacity(atoms=at_once.atoms.sizes.size - 1)))
        assert low.knowing_cells(met, cells) is None
    read = decode(encode(at_once), RULES)
    assert same_space(read, at_once) and (read.atoms.labels == at_once.atoms.labels).all()
    assert pack_past(unpack_past(pack_past(Past({"": channel})))) == pack_past(Past({"": channel}))
    found = unpack_past(pack_past(Past({"": channel}))).channels[""]
    assert (found.parts == channel.parts).all() and (found.labels == channel.labels).all()


def test_labels_of_several_channels_are_written_once() -> None:
    place = np.arange(100_000, dtype=np.int32) % 7
    cells = Sets.of(7, place, np.arange(place.size), place.size)
    one, two = (Channel.empty(place.size).released(cells) for _ in range(2))
    state = AuditState.start(place.size, RULES, SEED).knowing_cells(
        Met.of(np.zeros_like(place), 1, place, 7), np.arange(7)
    )
    assert state is not None
    shared = replace(two, labels=one.labels, audit=replace(state, atoms=replace(state.atoms, labels=one.labels)))
    text = pack_past(Past({"a": one, "b": shared}))
    assert len(text) < 2 * place.size < len(pack_past(Past({"a": one, "b": replace(two, audit=state)})))
    found = unpack_past(text).channels
    audit = found["b"].audit
    assert audit is not None and audit.atoms.labels is found["b"].labels is found["a"].labels
    assert (found["a"].labels == one.labels).all() and same_space(audit, state)
    with pytest.raises(ServerError):
        decode(encode(state, labels=False), RULES)


def test_a_state_that_is_cut_off_is_not_read() -> None:
    text = encode(AuditState.start(300, RULES, SEED))
    for length in (len(text) - 1, len(text) - 200, 60):
        with pytest.raises(ServerError):
            decode(text[:length], RULES)


def test_only_the_people_of_a_state_are_looked_at() -> None:
    state = replace(AuditState.start(4, RULES, SEED), atoms=Atoms.whole(4))
    place = np.array([0, 0, 0, 0, 1, 1], np.int32)
    assert state.knowing_cells(Met.of(np.zeros(6, np.int32), 1, place, 2), np.array([0, 1])) is None


populations = st.lists(st.sets(st.integers(0, 6), max_size=4).map(sorted), max_size=8)


@settings(deadline=None)
@given(populations, populations, st.integers(0, 12))
def test_each_hidden_cell_is_kept_once_while_there_is_room(
    first: list[list[int]], more: list[list[int]], room: int
) -> None:
    held = Hidden.of(np.array(one, np.int32) for one in first)
    expected, left = [one for one in first if one], room
    for one in more:
        if one and one not in expected and len(one) <= left:
            expected.append(one)
            left -= len(one)
    found = held.plus(Hidden.of(np.array(one, np.int32) for one in more), room)
    assert [one.tolist() for one in found] == expected
    assert found.items.size == sum(map(len, expected)) and len(found) == len(expected)


def test_hidden_cells_are_compared_item_by_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hidden, "_marks", property(lambda self: np.zeros(len(self), np.uint64)))
    some = [np.array(one, np.int32) for one in ([1, 2], [1, 3], [2], [1, 2])]
    assert len(Hidden.of(some[:1]).plus(Hidden.of(some[1:]), 100)) == 3, "what looks alike is another one"


def test_a_column_is_measured_once() -> None:
    people = 200
    frame = polars.DataFrame({"g": [i % 4 for i in range(people)], "x": [float(i % 90) for i in range(people)]})
    w = World(remembers=True).add("t", frame, Policy.default(), {"g": "quasi", "x": Role(RoleKind.MEASURE, 0, 100)})
    x = pl.col("x")
    asked = [Q("t").group_by("g").agg(x.mean()), Q("t").filter(pl.col("g") < 2).select(x.sum())]
    first = [w.ask(plan.plan) for plan in asked]
    assert all(found.table is not None for found in first)
    key = ("t", 1, "x")
    held = w.columns.get(key)
    assert held is not None and held.tolist() == frame["x"].to_list() and not held.flags.writeable
    w.columns.forget("t")
    assert w.columns.get(key) is None


def test_columns_make_room_for_others() -> None:
    columns = Columns(capacity=20 * 8)
    for name in "abc":
        columns.put(("t", 1, name), np.zeros(10))
        columns.get(("t", 1, "a"))
    assert [columns.get(("t", 1, name)) is None for name in "abc"] == [False, True, False]
    columns.put(("u", 1, "d"), np.zeros(21))
    assert columns.get(("u", 1, "d")) is None, "too large"
    columns.forget("t")
    columns.put(("u", 1, "e"), np.zeros(20))
    assert columns.get(("u", 1, "e")) is not None
