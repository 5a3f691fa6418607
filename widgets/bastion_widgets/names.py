"""Names of the language that open widgets: the language itself knows none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bastion.language.callables import SafeFunction

if TYPE_CHECKING:
    from bastion.language import Environment


def install(environment: Environment) -> None:
    """Give a session the names that front ends with widgets have."""

    def owner_panel() -> Any:
        """The owner's panel: requests as they come, datasets and policies, the audit log, what was released, budgets."""
        from bastion_widgets.owner import OwnerPanel

        return OwnerPanel(environment.require_connection())

    environment.fixed["owner_panel"] = SafeFunction("owner_panel", owner_panel)
