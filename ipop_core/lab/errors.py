"""The laboratory's errors."""


class LabError(Exception):
    """The laboratory could not do what was asked; the message holds the command and what it printed."""


class LabTimeoutError(LabError):
    """What was awaited did not happen in time."""
