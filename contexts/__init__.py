"""What is going on around a page view: page, clock, place, weather, device."""
