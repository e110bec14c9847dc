"""One format a file: each parses, says where a row stands in its file, and filters nothing."""

from __future__ import annotations

from fuserec.data.sources.tables import Table, read_table

__all__ = ["Table", "read_table"]
