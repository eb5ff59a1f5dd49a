"""How long a test waits before it says that something hangs.

No test measures speed with it: what it waits for comes in well under a second on a quiet machine.
"""

HANGS = 120.0
