"""Rehearsals: the tool's own commands on a lab, with faults brought about, and the evidence kept."""
