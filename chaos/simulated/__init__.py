"""A queue in simulated time, sound or wrong on purpose, whose histories prove the rules."""
