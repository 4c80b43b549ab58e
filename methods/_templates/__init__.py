"""One working file a slot, from which `python -m harness new-method` makes a new one; not methods themselves."""
