from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]

ALICE = "65f0c0ffee0123456789abcd"
BOB = "65f0c0ffee0123456789ab0b"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a file belongs to: an agent's label up to 0.8.5, kind and id from 0.8.6 on."""

    kind: str = ""
    id: str = ""
    version: int | None = None
    entity_id: str = ""

    def as_json(self) -> JSON:
        fields = {
            "kind": self.kind,
            "id": self.id,
            "version": self.version,
            "entityId": self.entity_id,
        }
        return {name: value for name, value in fields.items() if value not in ("", None)}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What LibreChat remembers of a file: where it is, and the name under which to mount it."""

    session_id: str
    id: str
    name: str
    scope: Scope = Scope()

    def old_ref(self) -> JSON:
        return {"id": self.id, "session_id": self.session_id, "name": self.name}

    def new_ref(self) -> JSON:
        version = {} if self.scope.version is None else {"version": self.scope.version}
        return {
            "id": self.id,
            "storage_session_id": self.session_id,
            "resource_id": self.scope.id,
            "kind": self.scope.kind,
            "name": self.name,
            **version,
        }
