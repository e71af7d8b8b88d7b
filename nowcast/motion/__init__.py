"""Motion of the rain: motion fields, trajectories, and frames advected along them."""

FACE = {
    "advection": "trajectories, and frames advected along them",
    "frames": "windows in the moving frame of reference",
    "estimation": "motion from the newest frames",
    "grid": "the coarse grid of a motion field",
    "spacing": "pixel size and time step: motion in km/h",
}
"""The modules that other rooms may import, and what each provides."""
