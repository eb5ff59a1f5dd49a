"""A toolkit and local cloud for LLM chat backends on AWS."""

__version__ = "0.1.0"
