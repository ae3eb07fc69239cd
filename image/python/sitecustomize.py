"""What stops the zygote in the middle of its start. Only there is this directory in `sys.path`."""

import sys

HERE = "/opt/sandbox/python"
sys.path[:] = [path for path in sys.path if path != HERE]
del sys.modules[__name__]
try:
    # The distribution's own.
    import sitecustomize as own
except ImportError:
    own = None

baseline = set(sys.modules)
importers = {path for path in sys.path_importer_cache if path != HERE}
sys.path.insert(0, "/opt/sandbox")
from runner.preloading import serve  # noqa: E402

serve(baseline, importers)
if own is None:
    # As if there were none, which is also how it is forgotten.
    raise ImportError(name=__name__)
