"""A segmenter made to run: the libraries that compute its logits. Each file is the only door to one library."""
