"""Where campaigns, pages and keys are kept."""
