"""The Open Inference Protocol over gRPC: an option that is imported only where it is switched on."""
