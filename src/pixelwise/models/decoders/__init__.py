"""One file per paper: feature maps back to a map of logits."""
