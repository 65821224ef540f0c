"""Why something cannot be measured, in one line."""


class CannotMeasure(Exception):
    """A contender cannot run a case; the text says why and what to do."""
