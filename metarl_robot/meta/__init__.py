"""Offline meta-learning: the only room that imports torch."""
