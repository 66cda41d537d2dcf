"""`python -m keybed`: the command line."""

import sys

from keybed.experiments.cli.main import main

sys.exit(main())
