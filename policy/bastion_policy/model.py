"""What the owner writes: policies, rules, roles."""
