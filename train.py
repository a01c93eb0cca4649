"""One run: fit, restore the best, evaluate on held-out stimuli, write the run's folder.

    uv run train.py                                    the simulated subject, Gabor features, per-ROI linear heads
    uv run train.py --config configs/v4_gabor.yaml --data.source.root DIR
    uv run train.py --help
"""

import sys

from src.cli import main

if __name__ == "__main__":
    sys.exit(main())
