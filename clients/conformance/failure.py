"""What a case raises."""


class Failure(AssertionError):
    """The worker did not do what the case expects. The text says what was expected, and what came."""
