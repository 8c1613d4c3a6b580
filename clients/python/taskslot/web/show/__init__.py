"""How values are written on the page, and read back from its forms."""
