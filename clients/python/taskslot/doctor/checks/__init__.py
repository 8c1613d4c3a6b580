"""The checks, one file for each subject. Each is a pure function of the facts, and yields what it found."""
