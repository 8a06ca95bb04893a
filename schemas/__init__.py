"""JSON schemas that all parts share; installed as `ipop_schemas`."""
