"""Text that tries to do something to the screen: more than fifty subjects, names and bodies.

`TEXTS` are what a sender may write, `FORBIDDEN` what must never reach the terminal as a character.
"""

from __future__ import annotations

import re

ESC = "\x1b"

TEXTS: tuple[str, ...] = (
    # terminal escapes
    f"{ESC}]52;c;UFdORUQ=\x07clipboard",
    f"{ESC}]52;c;UFdORUQ={ESC}\\clipboard",
    f"{ESC}]0;PWNED\x07title",
    f"{ESC}]2;PWNED{ESC}\\title",
    f"{ESC}]8;;http://evil.example/\x07link{ESC}]8;;\x07",
    f"{ESC}]1337;File=inline=1:PWNED\x07image",
    f"{ESC}]0;no end of this string PWNED",
    f"{ESC}[2J{ESC}[Hcleared",
    f"{ESC}[31;1mred{ESC}[0m",
    f"{ESC}[?1049lleft",
    f"{ESC}[?1000h{ESC}[?1003hmouse",
    f"{ESC}[6n{ESC}[c{ESC}[0x report",
    f"{ESC}[21t report title",
    f"{ESC}[8;1;1t small",
    f"{ESC}P+q544e{ESC}\\dcs",
    f"{ESC}P1$r0m{ESC}\\dcs",
    f"{ESC}_PWNED{ESC}\\apc",
    f"{ESC}^PWNED{ESC}\\pm",
    f"{ESC}XPWNED{ESC}\\sos",
    f"{ESC}c reset",
    f"{ESC}(0qqq{ESC}(B charset",
    f"{ESC}#8 align",
    f"{ESC}{ESC}[31m twice",
    f"{ESC}[{ESC}[31m nested",
    f"{ESC}[38;2;1;2",
    f"{ESC}",
    "\x9b31mC1 CSI\x9b0m",
    "\x9d52;c;UFdORUQ=\x9cC1 OSC",
    "\x90PWNED\x9cC1 DCS",
    "\x85next\x84line",
    "\x0e\x0fshift",
    "\x00nul\x07bell\x08\x08\x08back",
    "over\rwritten",
    "vertical\x0btab\x0cform feed",
    "del\x7f\x7f\x7f",
    # markup of the libraries
    "[@click=app.quit]click me[/]",
    "[@click=app.bell()]ring[/@click]",
    "[/]",
    "[/",
    "[bold",
    "\\[/",
    "[link=file:///etc/passwd]link[/link]",
    "[red on blue]colours[/red on blue]",
    "[$primary]variable[/$primary]",
    "[[[[]]]]",
    "# heading\n```sh\nrm -rf /\n```\n![img](http://evil.example/x.png)",
    # direction and invisible characters
    "\u202egnp.exe\u202c bidi",
    "\u2066\u2067\u2068isolates\u2069",
    "\u200e\u200f\u061cmarks",
    "zero\u200bwidth\u200c\u200d\u2060\ufeffjoin",
    "soft\u00adhyphen",
    "tag\U000e0041\U000e0042\U000e007fs",
    "\u3164\u115f\u1160\uffa0fillers",
    "variation\U000e0100\ufe00selectors",
    "line\u2028separator\u2029paragraph",
    "\ufff9annotation\ufffb",
    # shape
    "z" + "\u0300\u0301\u0302\u0303\u0304\u0305" * 60 + "algo",
    "\u0300\u0301starts with marks",
    "x" * 5_000,
    "界" * 3_000,
    "\t" * 500 + "tabs",
    "\n" * 500 + "lines",
    "👩‍👩‍👧‍👦👍🏽🏴‍☠️🇨🇭 emoji",
    "👍" + "\u200d👍" * 200,
    "العربية ועברית mixed עם English",
    "\ud800 half a pair".encode("utf-8", "replace").decode(),
    "\ue000\uf8ff private \U0010fffe use",
    "",
    "   \n\t ",
)

CONTROLS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f"  # all controls but the newline
    "\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
"""What must not be left in text that a widget gets."""
