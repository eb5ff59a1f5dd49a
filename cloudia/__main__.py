"""`python -m cloudia`: the command line."""

import sys

from cloudia.cli.main import main

sys.exit(main())
