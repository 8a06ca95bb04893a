"""A token bucket: so many at once, so many a second."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class TokenBucket:
    """Begins full."""

    rate: float
    """Tokens a second."""
    size: float
    filled_at: float
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.size

    def take(self, now: float, amount: float = 1.0, *, leave: float = 0.0) -> bool:
        """Take so many tokens, if that leaves at least `leave` of them."""
        self.tokens = min(self.size, self.tokens + max(0.0, now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < amount + leave:
            return False
        self.tokens -= amount
        return True
