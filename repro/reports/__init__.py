"""What is written for people: tables and figures."""
