"""The `bastion` command: server and client verbs, and the demo."""
