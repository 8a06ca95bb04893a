"""Modules that misbehave on request."""
