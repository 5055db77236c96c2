"""Figures: plots of a table's numbers, and pictures of single images."""
