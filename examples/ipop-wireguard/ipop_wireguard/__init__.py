"""WireGuard between virtual addresses: fills the role `crypto` instead of modules/ipsec."""
