"""A real Kubernetes on this machine: kind where Docker can run it, otherwise the same programs as plain processes."""
