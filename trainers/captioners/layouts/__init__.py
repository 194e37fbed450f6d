"""The layouts of released captioners, one file for each, and the module that recognises them."""
