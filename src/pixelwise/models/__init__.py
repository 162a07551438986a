"""From images to logits; knows no data."""
