"""`ipop demo`: Alice and Bob, each behind a NAT, find each other through an overlay of strangers; with real nodes."""
