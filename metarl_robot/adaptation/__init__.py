"""Online estimation of the context: numpy only."""
