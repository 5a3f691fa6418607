"""All attacks: importing this module registers them."""

from __future__ import annotations

import attacks_approvals  # noqa: F401
import attacks_approved  # noqa: F401
import attacks_beside  # noqa: F401
import attacks_chosen  # noqa: F401
import attacks_copies  # noqa: F401
import attacks_corrections  # noqa: F401
import attacks_counts  # noqa: F401
import attacks_differencing  # noqa: F401
import attacks_edges  # noqa: F401
import attacks_encoding  # noqa: F401
import attacks_errors  # noqa: F401
import attacks_existence  # noqa: F401
import attacks_extremes  # noqa: F401
import attacks_forms  # noqa: F401
import attacks_hidden  # noqa: F401
import attacks_homogeneity  # noqa: F401
import attacks_inflation  # noqa: F401
import attacks_joins  # noqa: F401
import attacks_left  # noqa: F401
import attacks_missing  # noqa: F401
import attacks_mixed  # noqa: F401
import attacks_months  # noqa: F401
import attacks_nothing  # noqa: F401
import attacks_nought  # noqa: F401
import attacks_order  # noqa: F401
import attacks_others  # noqa: F401
import attacks_owners  # noqa: F401
import attacks_person  # noqa: F401
import attacks_populations  # noqa: F401
import attacks_released  # noqa: F401
import attacks_rows  # noqa: F401
import attacks_saved  # noqa: F401
import attacks_showing  # noqa: F401
import attacks_stretch  # noqa: F401
import attacks_trackers  # noqa: F401
import attacks_unknown  # noqa: F401
import attacks_versions  # noqa: F401
import attacks_weights  # noqa: F401
import attacks_windows  # noqa: F401
