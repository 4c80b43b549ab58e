"""One module for each kind of data source; it holds SOURCE, and is found by existing."""
