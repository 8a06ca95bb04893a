"""A topology for small IPOP networks: everyone is linked to everyone, and tells each neighbour what it owns."""
