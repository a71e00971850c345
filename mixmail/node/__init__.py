"""Floor 4a: what a node does for others, sans-IO: mix, courier, proxy, replica and directory.

`core.Node` composes the roles; its docstring holds the rules of use.  Import from the modules.
"""
