"""Where datasets and encoders meet: features of the items, what they are worth, and what is wrong with them."""
