"""What all executions of a period have in common, in numbers.

A month may have millions of runs. Those of hours that are over the keeper counts once, and keeps
the sums (`rolling`); the rest is counted when somebody asks (`reading`), by the same expressions
(`facets`). How long runs took is kept as a histogram (`durations`).
"""
