import pandas as pd

print(pd.DataFrame({"a": [1.0, 2.0]}).describe())
