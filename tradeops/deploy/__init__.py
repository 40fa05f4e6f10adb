"""Playbook to plan to run: how a release reaches a fleet, is proved there, and is taken back."""
