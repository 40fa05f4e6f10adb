"""Verdicts over time about a group of hosts: metric sources, statistics, judgement. Decisions are pure; sources alone do I/O."""
