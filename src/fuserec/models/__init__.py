"""Models: one paper, one file. Each learns from a `Corpus` and ends as a `Scorer`."""
