"""Pictures: their places, their decoding, and the steps by which the original implementations prepare them."""
