"""The side-by-side page for domain experts."""
