"""The steps of a request, as `Execution.step_ms` names them."""

# In the order in which a request goes through them, which the database does not keep.
STEPS = (
    "auth",
    "parse",
    "session",
    "turn",
    "inputs",
    "claim",
    "queue",
    "audit",
    "start",
    "attach",
    "reset",
    "files_in",
    "run",
    "collect",
    "store",
)
