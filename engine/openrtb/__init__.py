"""Between OpenRTB 2.6 and our own decisions: what a request asks for, and the bids that answer it."""
