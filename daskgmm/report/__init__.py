"""Report: what a saved model is, and how it fits stored rows, as pictures and as a page."""
