"""What a call is about, as files say it: profiles, tables, published numbers."""
