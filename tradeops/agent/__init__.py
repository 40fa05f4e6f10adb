"""What runs on a managed host behind the forced command: the standard library alone, Python 3.9 or newer."""
