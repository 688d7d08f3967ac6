"""What the server counts of the traffic it sees: exact sums, never a payload, the same over workers and restarts."""
