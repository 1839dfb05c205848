"""Where things lie: local paths and URLs, patience with services, one writer at a time."""
