"""Tokens: who may use the gateway, for what, and until when.

``python -m object_clerk.gateway.tokens`` makes, lists, replaces and removes them, as does
``object-clerk token``. Only the standard library and the core of this package are needed.
"""

from object_clerk.gateway.tokens.file import NewToken, TokenExists, TokenFile, TokenNotFound
from object_clerk.gateway.tokens.records import SCOPES, TokenRecord

__all__ = ["SCOPES", "NewToken", "TokenExists", "TokenFile", "TokenNotFound", "TokenRecord"]
