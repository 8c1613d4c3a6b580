"""What is done to the servers: a file for each kind of fault."""
