# A scout touches no more than it has to: pathlib is some of what programs do not need.
with open("/opt/sandbox/python/preload.txt") as file:  # noqa: PTH123
    loaded_ahead = file.read().split()

if "pandas" in loaded_ahead:
    import pandas as pd

    print(pd.DataFrame({"a": [1.0, 2.0]}).describe())
