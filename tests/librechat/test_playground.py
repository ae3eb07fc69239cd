"""What the playground says that the model reads is what LibreChat's own client makes of it."""

import pytest

from sandbox.admin import shown
from tests.librechat.client import LibreChat
from tests.librechat.conversation import Conversation
from tests.service import Service


@pytest.mark.parametrize(
    "code",
    [
        "print('out')",
        "import sys; print('out\\n\\n  in  '); print('bad', file=sys.stderr)",
        "import sys; sys.exit('bad')",
        "pass",
        "print()",
        "raise SystemExit(3)",
    ],
)
def test_the_model_reads_what_the_playground_shows(
    librechat: LibreChat, service: Service, code: str
) -> None:
    assert Conversation(librechat).run("py", code).text == shown.to_model(service.run(code))
