"""The nspawn driver: every host its own systemd, sshd, address, cgroup. Needs root."""
