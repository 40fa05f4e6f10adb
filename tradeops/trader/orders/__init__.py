"""What became of every order: one table of states, the open ones with their exposure, and which to place or take back."""
