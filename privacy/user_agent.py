"""What a user agent is read for: one of 4 × 6 kinds of device, and whether it declares itself a machine.

Nothing is remembered between calls: a cache would hold visitors' strings, and its hits would tell who came before.
"""

from __future__ import annotations

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
    ("xbox", "windows"),
    ("tizen", "other"),
    ("web0s", "other"),
    ("webos", "other"),
    ("kaios", "other"),
    ("; cros ", "other"),
    ("playstation", "other"),
    ("nintendo", "other"),
    ("harmony", "other"),
    ("iphone", "ios"),
    ("ipad", "ios"),
    ("ipod", "ios"),
    ("apple tv", "ios"),
    ("appletv", "ios"),
    ("tvos", "ios"),
    ("android", "android"),
    ("kindle", "android"),
    ("silk/", "android"),
    ("crkey", "android"),
    ("macintosh", "macos"),
    ("mac os x", "macos"),
    ("linux", "linux"),
    ("x11", "linux"),
)
_TELEVISIONS = (
    *("smart-tv", "smarttv", "smart_tv", "smart tv", "googletv", "google tv", "apple tv", "appletv", "tvos"),
    *(
        "android tv",
        "tv safari",
        "web0s",
        "webos.tv",
        "hbbtv",
        "netcast",
        "bravia",
        "viera",
        "aquosbrowser",
        "roku",
    ),
    *("crkey", "mitv", "mibox", "philipstv", "dtv", "opera tv", "tv store", "; aft", "playstation", "xbox"),
    *("nintendo switch", "nintendo wiiu", "shield android tv"),
)
_TABLETS = ("ipad", "kindle", "playbook", "; kf")
_PHONES = (
    "iphone",
    "ipod",
    "windows phone",
    "opera mini",
    "opera mobi",
    "(phone;",
    "blackberry",
    "bb10",
    "kaios",
    "symbian",
)
_BROWSERS = ("mozilla/", "opera/", "dalvik/")
# Words of declared machines. Short ones that real devices bear (Tecno Phantom, ScanPal, Naver's "search") are left out.
_MACHINES = (
    *(
        "bot",
        "crawl",
        "spider",
        "headless",
        "http:",
        "https:",
        "www.",
        "@",
        "slurp",
        "python",
        "curl",
        "wget",
    ),
    *("java/", "fetch", "monitor", "preview", "phantomjs", "lighthouse", "validator", "scanner", "scrap"),
    *(
        "archiver",
        "externalhit",
        "externalagent",
        "agent/",
        "-agent",
        "inspector",
        "inspection",
        "page speed",
    ),
    *("pagespeed", "speedcurve", "gtmetrix", "ptst", "favicon", "selenium", "puppeteer", "playwright"),
    *("mediapartners", "google-", "daumoa", "dareboost", "siteimprove", "netcraft", "evc-batch", "webthumb"),
    *("checker", "grader", "libwww", "httpclient", "reader.com"),
)
_TELEPHONE_MAKER = "cubot"


def device(mobile: str, platform: str, user_agent: str) -> Device:
    """Tell the kind of device from Sec-CH-UA-Mobile, Sec-CH-UA-Platform and User-Agent; "" where one is absent.

    Safari on an iPad says Macintosh and counts as a desktop, unless the caller's script states the class.
    """
    agent = user_agent[:LONGEST].lower()
    system = _HINTED.get(platform) or _platform(agent)
    if any(word in agent for word in _TELEVISIONS):
        return Device("tv", system)
    if system == "macos" and "mobile/" in agent:  # a web view of an iPad; no Mac says Mobile
        return Device("tablet", "ios")
    if mobile == "?1":
        return Device("phone", system)
    if any(word in agent for word in _TABLETS) or ("tablet" in agent and "tablet pc" not in agent):
        return Device("tablet", system)
    if any(word in agent for word in _PHONES):
        return Device("phone", system)
    if system == "android":
        return Device("phone" if "mobile" in agent and mobile != "?0" else "tablet", system)
    if "mobile" in agent and mobile != "?0":
        return Device("phone", system)
    return Device("desktop", system)


def is_machine(user_agent: str) -> bool:
    """Tell whether a user agent is absent, no browser's, or declares a bot, a tool or a preview.

    GIVT-style filtration by declared names; not accredited by the MRC, and no list of addresses.
    """
    agent = user_agent[:LONGEST].lower().replace(_TELEPHONE_MAKER, "")
    if not agent.startswith(_BROWSERS):
        return True
    return any(word in agent for word in _MACHINES)


def _platform(agent: str) -> Platform:
    return next((platform for word, platform in _PLATFORMS if word in agent), "other")
