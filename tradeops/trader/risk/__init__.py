"""Pre-trade risk: pure. An order, the limits, the facts of the moment; out comes nothing, or a denial with its own code."""
