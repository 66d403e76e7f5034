"""Figures as inline SVG. Their colours come from the page's style sheet, which also serves dark mode and print."""
