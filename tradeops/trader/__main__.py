"""python -m tradeops.trader"""

from __future__ import annotations

import sys

from tradeops.trader.main import main

sys.exit(main())
