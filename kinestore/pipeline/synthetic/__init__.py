"""Generated clips whose classes differ by motion alone."""
