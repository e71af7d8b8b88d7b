"""Ways to derive a rate from probabilities. Nothing heavy is imported, because the configuration
uses it too.
"""

RATES = ("csi", "median", "mean")
"""Values of the key `rate`: the cuts of the best CSI, a probability of one half, or the expected
rate.
"""

RATE_BY = "rate"
"""The attribute of forecasts, counts and scores that names how rates were derived."""

MOST_MEMBERS = 100
"""The largest number of members drawn from probabilities."""
