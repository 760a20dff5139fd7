"""The supply chain of the custody tests."""

from tests.custody.conftest import parties, registered

__all__ = ["parties", "registered"]
