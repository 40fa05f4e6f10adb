"""The hosts of one environment and the ways to reach them: inventory, roster, ssh, fan-out, agent, control, lock."""
