"""Names of members, for this machine's own programs."""
