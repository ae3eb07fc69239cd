"""`python3 -I -S -B /opt/sandbox/runner`: the container's PID 1.

Isolated, so that neither the environment nor the working directory adds to what is imported.
"""

import sys
from importlib import import_module
from pathlib import Path

package = Path(__file__).parent
sys.path[0] = str(package.parent)
import_module(f"{package.name}.pid1").main()
