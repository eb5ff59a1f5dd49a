"""The LLM providers, each behind its official SDK, all with one face: `Provider`."""
