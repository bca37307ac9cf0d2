"""Small pictures and captions of clips."""
