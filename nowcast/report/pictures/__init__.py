"""Pictures of rain and of scores as PNG, GIF and MP4, drawn with Matplotlib without a display."""
