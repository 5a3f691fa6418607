"""What the owner writes, and the judge: pure functions of plan, facts, policy, history and measured guard columns."""
