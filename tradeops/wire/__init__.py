"""Venue protocols as clients: order entry, cancel, query, drop copy, market data, recorded files."""
