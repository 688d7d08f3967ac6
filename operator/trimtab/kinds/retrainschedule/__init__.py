"""RetrainSchedule: when a better model is made, who judges it, and how it comes to serve."""
