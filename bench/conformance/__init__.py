"""What a server of the Open Inference Protocol must do, as a table of cases that any server can be asked by its URL."""
