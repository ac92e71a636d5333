"""What brings foreign data into the raw-feed format."""
