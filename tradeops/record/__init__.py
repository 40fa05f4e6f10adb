"""Records: the audit chain and its witnesses, and reports for people and CI."""
