"""The node's configuration: one JSON file, composed schemas, frozen settings."""

from ipop_core.config.build import Configuration, ConfiguredModule, Node, build, load, print_schema, resolve
from ipop_core.config.document import read_document

__all__ = [
    "Configuration",
    "ConfiguredModule",
    "Node",
    "build",
    "load",
    "print_schema",
    "read_document",
    "resolve",
]
