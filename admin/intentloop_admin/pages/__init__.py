"""What people look at: one module for each page, templates, and a little script for keys."""
