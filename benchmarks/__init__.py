"""Speed, memory and relevance, each measured beside its floor or peer in one run."""
