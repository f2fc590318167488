"""The peers, each in one file: the same problem in their words."""
