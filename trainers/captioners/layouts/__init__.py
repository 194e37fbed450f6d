"""The layouts of released captioners, one file each, and the module that knows them all."""
