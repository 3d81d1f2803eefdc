"""What requests and transfers cost us and others: CPU time, time by the clock, and memory."""
