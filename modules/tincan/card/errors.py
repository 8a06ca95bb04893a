"""The one error of the card half."""

from __future__ import annotations


class CardError(Exception):
    """The card could not be made, configured or removed; the text says why and how to mend it."""
