"""From disk to a batch; knows no model."""
