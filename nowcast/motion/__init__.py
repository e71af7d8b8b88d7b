"""Where the rain is going: motion fields, trajectories, and frames taken along them."""

FACE = {
    "advection": "trajectories, and frames along them",
    "frames": "windows in the moving frame of reference",
    "estimation": "motion from the newest frames",
    "grid": "the coarse grid of a motion field",
    "spacing": "pixel size and time step: motion in km/h",
}
"""The modules that other rooms may import, and what they give."""
