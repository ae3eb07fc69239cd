from keys.admin.api_keys import APIKeyAdmin
from keys.admin.issuers import IssuerAdmin
from keys.admin.users import StaffAdmin

__all__ = ["APIKeyAdmin", "IssuerAdmin", "StaffAdmin"]
