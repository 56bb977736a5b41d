"""The magazine of `tactful demo`: its articles, its advertisers, and the pictures of both."""
