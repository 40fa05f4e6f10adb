"""What to want. Stateless: the same view and settings, the same signals. No strategy can reach limits, gate or venue."""
