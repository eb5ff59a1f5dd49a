"""Bundling: the zips that Lambda runs the functions from, for an engine and for AWS alike."""
