"""What a user agent is read for: one of 4 × 6 kinds of device, and whether it declares itself a machine.

Nothing is remembered between calls: a cache would hold visitors' strings, and its hits would tell who came
before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from privacy.visit import Device, Platform

LONGEST = 512  # characters of a user agent that are read

# Sec-CH-UA-Platform, https://wicg.github.io/ua-client-hints/#sec-ch-ua-platform
_HINTED: dict[str, Platform] = {
    '"Android"': "android",
    '"iOS"': "ios",
    '"Windows"': "windows",
    '"macOS"': "macos",
    '"Linux"': "linux",
    '"Chrome OS"': "other",
    '"Chromium OS"': "other",
    '"Fuchsia"': "other",
}
# The first that is found decides: Windows Phone and Tizen say Android too, and iPhones say "like Mac OS X".
_PLATFORMS: tuple[tuple[str, Platform], ...] = (
    ("windows", "windows"),
    ("iphone", "ios"),
    ("tizen", "other"),
    ("web0s", "other"),
    ("webos", "other"),
    ("kaios", "other"),
    ("harmony", "other"),
    ("android", "android"),
    ("ipad", "ios"),
    ("ipod", "ios"),
    ("apple tv", "ios"),
    ("appletv", "ios"),
    ("tvos", "ios"),
    ("macintosh", "macos"),
    ("mac os x", "macos"),
    ("; cros ", "other"),
    ("playstation", "other"),
    ("nintendo", "other"),
    ("kindle", "android"),
    ("silk/", "android"),
    ("crkey", "android"),
    ("linux", "linux"),
    ("x11", "linux"),
)
# Looked for only where "tv" is found.
_TV_WORDS = tuple(
    "smart-tv|smarttv|smart_tv|smart tv|googletv|google tv|apple tv|appletv|tvos|android tv|tv safari"
    "|webos.tv|hbbtv|mitv|philipstv|dtv|opera tv|tv store".split("|")
)
_TELEVISIONS = tuple("web0s|netcast|bravia|viera|roku|crkey|mibox|; aft|playstation|xbox|nintendo".split("|"))
_TABLETS = ("ipad", "kindle", "playbook", "; kf")
_PHONES = tuple(
    "iphone|ipod|windows phone|opera mini|opera mobi|(phone;|blackberry|bb10|kaios|symbian".split("|")
)
_BROWSERS = ("mozilla/", "opera/", "dalvik/")
# Words of declared machines, but none that real devices and apps bear (Tecno Phantom, Naver's "search").
_MACHINES = tuple(
    "bot|crawl|spider|headless|http|www.|@|slurp|python|curl|wget|java/|fetch|monitor|preview|phantomjs"
    "|lighthouse|validator|scanner|scrap|archiver|external|agent/|-agent|inspect|page speed|pagespeed"
    "|speedcurve|gtmetrix|ptst|favicon|mediapartners|google-|daumoa|dareboost|siteimprove|netcraft|evc-batch"
    "|webthumb|checker|grader|libwww|reader.com".split("|")
)
_TELEPHONE_MAKER = "cubot"
# What most readers' browsers say, word for word: no television, tablet or machine among them.
_COMMON = re.compile(
    r"Mozilla/5\.0 \((Windows NT 10\.0; Win64; x64|Macintosh; Intel Mac OS X 10_15_7|X11; Linux x86_64"
    r"|Linux; Android 10; K|iPhone; CPU iPhone OS [0-9_]+ like Mac OS X)(?:; rv:[0-9.]+)?\) "
    r"(?:AppleWebKit/[0-9.]+ \(KHTML, like Gecko\)|Gecko/[0-9.]+)"
    r"(?: (?:Chrome|Version|CriOS|FxiOS|Firefox|Mobile|Safari|Edg|OPR)(?:/[0-9A-F.]+)?)*"
)
_COMMON_PLATFORMS: dict[str, Platform] = {
    "Win": "windows",
    "Mac": "macos",
    "X11": "linux",
    "Lin": "android",
    "iPh": "ios",
}


def read(mobile: str, platform: str, user_agent: str) -> tuple[Device, bool]:
    """Tell the device, and whether it is a machine, from Sec-CH-UA-Mobile, Sec-CH-UA-Platform and User-Agent.

    "" stands for an absent header. Safari on an iPad says Macintosh and counts as a desktop, unless the
    caller's script states the class. A machine sends no user agent, no browser's, or one that declares a bot,
    a tool or a preview: GIVT-style filtration, not accredited by the MRC, and by no list of addresses.
    """
    said = user_agent[:LONGEST]
    if common := _COMMON.fullmatch(said):
        machine, tablet = False, False
        system = _HINTED.get(platform) or _COMMON_PLATFORMS[common[1][:3]]
        telephone = common[1][0] == "i"
        portable, build = "Mobile" in said, "Mobile/" in said
    else:
        agent = said.lower()
        machine = _is_machine(agent)
        system = _HINTED.get(platform) or _platform(agent)
        if ("tv" in agent and _holds(agent, _TV_WORDS)) or _holds(agent, _TELEVISIONS):
            return Device("tv", system), machine
        telephone = _holds(agent, _PHONES)
        tablet = _holds(agent, _TABLETS) or ("tablet" in agent and "tablet pc" not in agent)
        portable, build = "mobile" in agent, "mobile/" in agent
    if system == "macos" and build:  # a web view of an iPad; no Mac says Mobile
        return Device("tablet", "ios"), machine
    if mobile == "?1":
        return Device("phone", system), machine
    if tablet:
        return Device("tablet", system), machine
    if telephone or (portable and mobile != "?0"):
        return Device("phone", system), machine
    return Device("tablet" if system == "android" else "desktop", system), machine


def _is_machine(agent: str) -> bool:
    agent = agent.replace(_TELEPHONE_MAKER, "")
    return not agent.startswith(_BROWSERS) or _holds(agent, _MACHINES)


def _platform(agent: str) -> Platform:
    for word, platform in _PLATFORMS:
        if word in agent:
            return platform
    return "other"


def _holds(agent: str, words: Iterable[str]) -> bool:
    for word in words:  # any() over a generator takes twice as long
        if word in agent:
            return True
    return False
