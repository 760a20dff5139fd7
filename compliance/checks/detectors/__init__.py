"""The detectors of fixtures/detectors/detectors.yaml, grouped by what they look at. Importing this registers them."""

from compliance.checks.detectors import cell, certificates, delivery, firmware, identity, keys, people, seals

__all__ = ["cell", "certificates", "delivery", "firmware", "identity", "keys", "people", "seals"]
