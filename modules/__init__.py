"""The first-party modules; installed as `ipop_modules`."""
