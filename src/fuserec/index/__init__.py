"""From a finished run to recommendations with the original ids."""
