"""How a rate follows from probabilities. Nothing heavy is imported: it is part of a configuration,
too.
"""

RATES = ("csi", "median", "mean")
"""Names of the ways, as in the key `rate`: by the cuts of the best CSI, by a probability of one
half, or as the expectation.
"""

RATE_BY = "rate"
"""The attribute of forecasts, counts and scores that says how rates followed from probabilities."""

MOST_MEMBERS = 100
"""Members that are drawn from probabilities, at most."""
