"""Controllers behind one protocol."""
