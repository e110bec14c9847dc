"""What content is worth: coverage, doubles, collapse, and whether neighbours share users more than by chance."""

from fuserec.features.audit.measure import Audit, audit

__all__ = ["Audit", "audit"]
