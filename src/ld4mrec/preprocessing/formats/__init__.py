"""Tables of other people: a file's format, its columns, its rows and its items' contents."""
