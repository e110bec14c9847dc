"""One format a file: each parses, says where a row stands in its file, and filters nothing."""
