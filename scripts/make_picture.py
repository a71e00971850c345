"""The README's picture: the real app on a private network, after some mails to echo and its answers."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import tempfile
from pathlib import Path

from mixmail.cli import devnet
from mixmail.cli.home import Home
from mixmail.control import types
from mixmail.control.client import Client
from mixmail.daemon import devnet as network
from tui.app import MailApp

SIZE = (100, 30)
TARGET = Path(__file__).resolve().parent.parent / "docs" / "screen.svg"
LETTERS = (
    ("A first try", "Does this arrive?"),
    ("Minutes of Tuesday", "Please find the minutes attached."),
    (
        "Is anybody there?",
        "I am told that this letter goes through three mixes, a courier and a proxy,\n"
        "and that none of them knows who I am.\n\nIs that so?",
    ),
)


async def exchange(home: Home) -> None:
    """Write to echo, one letter after the other, until each is answered."""
    async with await Client.connect(home.socket) as client:
        await client.identity_create("Ada")
        news: asyncio.Queue[types.Event] = asyncio.Queue()
        client.listen(news.put_nowait)
        for subject, text in LETTERS:
            await client.mail_send("echo", subject, text)
            while not isinstance((await news.get()).data, types.MailNewEvent):
                continue
        page = await client.mail_list("inbox")
        await client.mail_mark(page.mails[-1].id, False)
        await client.mail_send("echo", "One more thing", "Thank you!")


async def photograph(home: Home) -> str:
    """The SVG of the main screen with the newest mail open."""
    app = MailApp(lambda: Client.connect(home.socket))
    async with app.run_test(size=SIZE) as pilot:
        for _ in range(20):
            await pilot.pause(0.1)
        await pilot.press("enter")
        await pilot.pause(0.5)
        return app.export_screenshot(title="mixmail")


def main() -> None:
    """Network up, letters, picture, network down."""
    folder = Path(tempfile.mkdtemp(prefix="mixmail-"))
    try:
        devnet.start(folder / "devnet", processes=False)
        home = devnet.user_home(folder / "devnet")
        asyncio.run(exchange(home))
        svg = asyncio.run(photograph(home))
    finally:
        network.down(folder / "devnet", lambda text: print(text, file=sys.stderr))
        shutil.rmtree(folder, ignore_errors=True)
    # The picture must not fetch fonts from anywhere.
    TARGET.write_text(re.sub(r"@font-face\s*\{[^}]*\}", "", svg))
    print(TARGET)


if __name__ == "__main__":
    main()
