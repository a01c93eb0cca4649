"""A study: searches the flags of `train.py`, on one machine or many, until it has the trials that were asked for.

`uv run tune.py` alone runs a small study on a simulated subject; `uv run tune.py --help` lists its flags.
"""

import sys

from calcarine.study.front import main

if __name__ == "__main__":
    sys.exit(main())
