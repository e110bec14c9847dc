"""Titles, texts, pictures, categories and numbers become rows of numbers. Knows no dataset and no model."""
