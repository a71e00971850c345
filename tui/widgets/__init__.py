"""One widget a module: the folders, the mail list, the reading pane, the status line."""
