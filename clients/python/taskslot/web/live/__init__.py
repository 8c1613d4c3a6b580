"""What is seen of all queues for all viewers: the looks, their history, and the stream to open pages."""
