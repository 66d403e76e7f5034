"""Figures as inline SVG. Colours come from the page's style sheet, so that dark mode and print follow it."""
