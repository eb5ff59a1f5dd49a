"""The stack of a folder: what is configured, what runs, what it says, and what is broken of it on purpose."""
