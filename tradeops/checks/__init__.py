"""Facts about hosts: what really runs against what was asked for. Reads only, changes nothing."""
