"""The terminal clients: chat, and the view of a running stack. They know the client library, and nothing of what runs."""
