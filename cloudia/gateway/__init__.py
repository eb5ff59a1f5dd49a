"""The gateway: the WebSocket service. Any number of processes may run; what they share is in Redis."""
