"""`python -m calcarine`."""

import sys

from .commands.main import main

sys.exit(main())
