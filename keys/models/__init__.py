from keys.models.api_key import APIKey
from keys.models.credential import Credential, KeyLimits, KeyQuotas, KeyScope
from keys.models.failure import Failure
from keys.models.issuer import Issuer

__all__ = ["APIKey", "Credential", "Failure", "Issuer", "KeyLimits", "KeyQuotas", "KeyScope"]
