"""`python -m tradeops.guard`."""

import sys

from tradeops.guard.main import main

sys.exit(main())
