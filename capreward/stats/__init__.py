"""The bootstrap over items, and the area under the ROC curve."""
