"""The program that test_tui_hostile.py runs in a pseudo terminal: the app on hostile mails."""

from __future__ import annotations

from memory_backend import MemoryBackend
from test_tui_hostile import fill
from twisted.internet import task

from mixmail.control import memory
from mixmail.control.server import ControlServer
from tui.app import MailApp

backend = MemoryBackend()
fill(backend)
server = ControlServer(backend, task.Clock())
backend.publish = server.publish
MailApp(lambda: memory.connect(server)).run()
