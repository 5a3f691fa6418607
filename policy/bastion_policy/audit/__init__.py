"""The linear audit: whether released sums, counts and means, taken together, give away a single person.

**The system.** Per source column, every released number is a known linear function of one unknown per unit: a *row* gives
each unit of a population its weight (ones for sums and counts, the other argument for covariances). Whoever holds the
released numbers can compute the rational combinations of the rows, the row space R, and nothing else linear. A vector of R
that is nonzero on few units tells about few people. The *support* of a vector is the set of units where it is nonzero.
*Atoms* are classes of units to which every row gives the same weight, so vectors of R are constant on atoms.

**What a cleared state guarantees** (over the rationals, but for the error probability in `primes`):

1. no vector of R has its support inside one atom of fewer than k units; so no single unit is isolated (e_t is not in R), nor
   the sum over an atom below k. This is complete: all such vectors are found, see `space`;
2. no hidden (suppressed) cell's own vector is in R, unless it was so before the cell was hidden (`AuditVerdict.exposed`);
3. no row of the reduced row echelon form has a support of fewer than k units; where several units are one person's, of fewer
   than k people, and no vector of R lives on the units of one person;
4. with `pairs`: no combination of *two* rows of that form has a support of fewer than k units. This covers every vector whose
   support lies in one or two atoms and has fewer than k units: every pair of units, a person beside an insider's own row;
5. with `leverage` tau: every unit's leverage is at most tau, hence every vector of R touches at least 1/tau units;
6. the rank stays within the budget `share` (`checks.budget`).

**What is not checked.** Finding the smallest support in a linear space is NP-hard in general. Supports below k that need
three or more atoms *and* a combination of several rows of the echelon form (two and more without `pairs`) may be missed;
except that where no or one row of the form lives on atoms below k, and with `pairs` also where two do, the search is complete
(`AuditState.complete` says so). Nonlinear inference, bounds on values and outside knowledge are beyond any linear audit.

INVARIANT: every doubt ends in "not cleared": a prime that fits badly, weights that are not finite, a capacity that is
exceeded. Nothing here answers "cleared" because it gave up.
"""

from bastion_policy.audit.encoding import decode, encode
from bastion_policy.audit.rows import Row, distinct, partition
from bastion_policy.audit.state import AuditRules, AuditState, AuditVerdict, Capacity, Clearance, Released

__all__ = [
    "AuditRules",
    "AuditState",
    "AuditVerdict",
    "Capacity",
    "Clearance",
    "Released",
    "Row",
    "decode",
    "distinct",
    "encode",
    "partition",
]
