"""What a user agent is read for: one of 4 × 6 kinds of device, and whether it declares itself a machine.

Nothing is remembered between calls: a cache would hold visitors' strings, and its hits would tell who came
before.
"""

from __future__ import annotations

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


def device(mobile: str, platform: str, user_agent: str) -> Device:
    """Tell the kind of device from Sec-CH-UA-Mobile, Sec-CH-UA-Platform and User-Agent; "" where absent.

    Safari on an iPad says Macintosh and counts as a desktop, unless the caller's script states the class.
    """
    agent = user_agent[:LONGEST].lower()
    system = _HINTED.get(platform) or _platform(agent)
    if ("tv" in agent and _holds(agent, _TV_WORDS)) or _holds(agent, _TELEVISIONS):
        return Device("tv", system)
    if system == "macos" and "mobile/" in agent:  # a web view of an iPad; no Mac says Mobile
        return Device("tablet", "ios")
    if mobile == "?1":
        return Device("phone", system)
    if _holds(agent, _TABLETS) or ("tablet" in agent and "tablet pc" not in agent):
        return Device("tablet", system)
    if _holds(agent, _PHONES) or ("mobile" in agent and mobile != "?0"):
        return Device("phone", system)
    return Device("tablet" if system == "android" else "desktop", system)


def is_machine(user_agent: str) -> bool:
    """Tell whether a user agent is absent, no browser's, or declares a bot, a tool or a preview.

    GIVT-style filtration by declared names; not accredited by the MRC, and no list of addresses.
    """
    agent = user_agent[:LONGEST].lower().replace(_TELEPHONE_MAKER, "")
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
