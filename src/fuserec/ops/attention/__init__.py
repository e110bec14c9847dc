"""Attention over long histories at three granularities: windowed, block-level and selective."""
