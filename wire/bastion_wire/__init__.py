"""What both ends of the wire agree on: messages, their bytes, identities, chunk streams, invitations."""
