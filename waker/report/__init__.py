"""Figures and the HTML page, from saved rows alone. The only package that imports matplotlib."""
