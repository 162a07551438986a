"""One file per paper: images to feature maps at falling resolution."""
