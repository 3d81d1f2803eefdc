"""What every request goes through before the application sees it.

From the outside in: :class:`Accounting`, :class:`SlowClients`, :class:`BodyLimit`,
:class:`Concurrency`. None of them holds bodies; they look at the messages that pass.
"""

from __future__ import annotations

from object_clerk.gateway.middleware.accounting import Accounting
from object_clerk.gateway.middleware.guards import BodyLimit, Concurrency, SlowClients

__all__ = ["Accounting", "BodyLimit", "Concurrency", "SlowClients"]
