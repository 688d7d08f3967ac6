"""Who gets which share of the traffic, as values: slots, weights, routes, and what a router is told. Pure."""
