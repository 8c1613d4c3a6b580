"""What requests pass: rights, links, errors, and which queue a request is for."""
