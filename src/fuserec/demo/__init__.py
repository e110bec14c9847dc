"""The whole way on an invented shop, from raw files to a page of pictures."""
