"""Overlays in virtual time, of the machines that the product runs.

`thin` joins topology machines by links that are just there, and forwards by the links' own table of routes: it carries
thousands of nodes. `full` runs topology, rendezvous and link machines over datagrams; `agreement` compares the two.
Neither knows the ring: it grows by what the machines ask for.
"""
