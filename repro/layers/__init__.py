"""Pieces that more than one method uses, and the interface of a method."""
