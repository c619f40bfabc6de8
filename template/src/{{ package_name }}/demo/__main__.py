"""Runs the demo and ends with its exit code."""

import sys

from .runner import main

sys.exit(main())
