"""`python -m cloudia.drill.supervise HOME`: run a drill's stack in the working folder, with its state in HOME.

Flags come as JSON in `CLOUDIA_FLAGS`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cloudia.local.borrowed import BorrowedProject
from cloudia.local.supervisor import supervise

if __name__ == "__main__":
    sys.exit(supervise(BorrowedProject(Path.cwd(), Path(sys.argv[1]))))
