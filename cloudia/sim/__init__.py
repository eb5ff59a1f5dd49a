"""The local cloud: engines, Redis, a simulated LLM, the HTTP edge, provisioning, and the supervisor that runs them."""
