"""The lab's own errors: what went wrong and what to do, in one sentence, without a trace."""


class LabError(Exception):
    """Something did not work."""


class UsageError(Exception):
    """Something was asked for that cannot be meant."""
