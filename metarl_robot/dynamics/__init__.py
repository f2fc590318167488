"""Rigid-body dynamics in CasADi, built from an MJCF."""
