"""What a stored result is known by, and when it is still true: what was asked, and the code that computes."""
