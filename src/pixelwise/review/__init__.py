"""Looking back at data and models with trained networks: leak cost, label errors, what to label next."""
