"""The simulated exchange: price-time matching, order entry, drop copy, mass cancel, market data, faults."""
