"""Tokenizers, n-gram arrays, document frequencies, and METEOR's engine."""
