"""What an operator does with a stack that runs or is deployed: its queues, its dead letters, what its functions logged."""
