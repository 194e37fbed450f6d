"""Text: the tokenizer and n-gram arrays."""
