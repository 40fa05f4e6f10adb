"""The local driver: no root, pip only. Each host is an SSH server and a service manager below a folder. Linux."""
