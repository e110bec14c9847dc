"""Pictures: found safely, read safely, and described without weights."""
