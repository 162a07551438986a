"""Figures and offline pages: the only door to matplotlib and jinja2."""
