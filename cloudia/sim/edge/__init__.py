"""The edge: stands in for API Gateway's HTTP API on a laptop, and serves the web page."""
