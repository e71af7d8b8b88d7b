"""Pictures of rain and of scores, drawn with matplotlib and without a display: PNG, GIF, MP4."""
