"""One run: fit, restore the best, evaluate on held-out stimuli, write the run's folder.

`uv run train.py` alone trains on a simulated subject; `uv run train.py --help` lists every flag.
"""

import sys

from calcarine.run.main import main

if __name__ == "__main__":
    sys.exit(main())
