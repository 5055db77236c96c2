"""What other code has made and this project reads: predictions of official implementations."""
