"""What the server says of itself to people and their tools: the OpenAPI document and the page made from it."""
