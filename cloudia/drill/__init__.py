"""The drill: a bounded storm against a stack of its own, and a verdict from outside on what must hold."""
