"""All attacks: importing this module registers them."""

from __future__ import annotations

import attacks_differencing  # noqa: F401
import attacks_encoding  # noqa: F401
import attacks_extremes  # noqa: F401
import attacks_hidden  # noqa: F401
import attacks_inflation  # noqa: F401
import attacks_person  # noqa: F401
import attacks_rows  # noqa: F401
import attacks_service  # noqa: F401
