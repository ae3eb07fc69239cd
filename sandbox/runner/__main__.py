"""`python3 -I -S -B /opt/sandbox/runner`: the container's PID 1.

Isolated, so that neither the environment nor the working directory adds to what is imported.
"""

import os
import sys
from importlib import import_module

sys.path[0], package = os.path.split(os.path.dirname(__file__))
import_module(f"{package}.pid1").main()
