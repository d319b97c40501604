"""One file per criterion."""
