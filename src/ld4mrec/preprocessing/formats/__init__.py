"""Tables of other people: which format a file has, its columns, its rows and its items' contents."""
