"""Overlays in virtual time, of the machines that the product runs.

`thin` joins topology machines by links that are just there, and forwards by the links' own table of routes: it carries
thousands of nodes. `full` runs topology, signal and link machines over datagrams. Neither knows the ring: it grows by
what the machines ask for.
"""
