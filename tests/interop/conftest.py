"""Real parts the tests here share."""

from tests.interop.coturn import coturn, coturn_with_secret, no_allocations_left

__all__ = ["coturn", "coturn_with_secret", "no_allocations_left"]
