"""The trading daemon: feed, strategy, risk, orders, and the one door to the venue."""
