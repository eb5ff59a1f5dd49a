"""The worker: takes jobs off the queue and answers them. Runs in a container with nothing but its own dependencies."""
