"""The terminal UI: a Textual app that talks to the daemon and to nothing else.

It never touches keys, packets or databases.  Remote text reaches a widget only through
`tui.safe_text`.  One screen or widget a module; `session` holds the connection.
"""
