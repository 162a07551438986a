"""Pure functions on arrays and tensors: no parameters, no files."""
