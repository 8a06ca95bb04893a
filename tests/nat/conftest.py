from tests.system.conftest import allowed, lab, town

__all__ = ["allowed", "lab", "town"]
