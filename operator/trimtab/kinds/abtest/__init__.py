"""ABTest: which of several deployments is better, asked on live users."""
