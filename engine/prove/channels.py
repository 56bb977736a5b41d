"""The channels through which a request can tell who sends it, with the values that real ones carry.

The reader who says nothing (`PLAIN`) and the one who says a channel's values are the same to the service.
Where a channel cannot be silent (a browser has some user agent), `plain` holds another value of the same
meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from engine.prove.consents import GOOD, LAWS, VOID


@dataclass(frozen=True, slots=True)
class Sender:
    """What one browser and its connection add to a request."""

    headers: Mapping[str, str] = field(default_factory=dict)
    connection: Mapping[str, str] = field(default_factory=dict)  # WSGI keys: REMOTE_ADDR and the like
    query: str = ""  # of the request itself
    page_userinfo: str = ""  # before the host of page.url
    page_suffix: str = ""  # behind the path of page.url
    reverse: bool = False  # sends its headers in the opposite order
    consent: str = ""  # one of engine.prove.consents.WAYS: what the body says under `consent` and `signals`
    spelt: bool = False  # writes its JSON otherwise: order, blanks, escapes
    ortb: Mapping[str, Any] = field(default_factory=dict)  # path → value: what a bid request says besides

    def __or__(self, other: Sender) -> Sender:
        """Say what both say; where both speak, the other wins."""
        return Sender(
            {**self.headers, **other.headers},
            {**self.connection, **other.connection},
            "&".join(filter(None, (self.query, other.query))),
            other.page_userinfo or self.page_userinfo,
            other.page_suffix or self.page_suffix,
            self.reverse or other.reverse,
            other.consent or self.consent,
            self.spelt or other.spelt,
            {**self.ortb, **other.ortb},
        )


PLAIN = Sender()


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to be told apart."""

    name: str
    values: tuple[Sender, ...]
    plain: Sender = PLAIN


@dataclass(frozen=True, slots=True)
class Kind:
    """User agents and client hints that mean one device class and platform."""

    name: str
    senders: tuple[Sender, ...]


_HEADERS: dict[str, tuple[str, ...]] = {
    "Cookie": ("sid=1", "_ga=GA1.2.1033501218.1368477899; uid=7f3a", "sid=" + 3000 * "7"),
    "Authorization": ("Basic dTpw", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0."),
    "Proxy-Authorization": ("Basic cHJveHk6cHc=",),
    "X-Forwarded-For": ("203.0.113.9, 10.0.0.1", "2001:db8::7"),
    "X-Forwarded-Host": ("reader-7.example",),
    "X-Forwarded-Proto": ("https", "http"),
    "X-Forwarded-Port": ("8443",),
    "X-Forwarded-Prefix": ("/reader-7",),
    "X-Forwarded-Server": ("proxy-7.example",),
    "X-Forwarded": ("for=203.0.113.9",),
    "X-Original-Forwarded-For": ("203.0.113.9",),
    "X-Original-Host": ("reader-7.example",),
    "X-Remote-Addr": ("203.0.113.9",),
    "Forwarded": ("for=203.0.113.9;proto=https;by=203.0.113.43",),
    "X-Real-IP": ("203.0.113.9",),
    "X-Client-IP": ("203.0.113.9",),
    "X-Cluster-Client-IP": ("203.0.113.9",),
    "CF-Connecting-IP": ("203.0.113.9",),
    "CF-IPCountry": ("DE", "T1"),
    "CF-IPCity": ("Berlin",),
    "CF-Device-Type": ("mobile",),
    "CF-Visitor": ('{"scheme":"https"}',),
    "CF-Ray": ("8f1b2c3d4e5f6a7b-TXL",),
    "True-Client-IP": ("203.0.113.9",),
    "Fastly-Client-IP": ("203.0.113.9",),
    "Fly-Client-IP": ("203.0.113.9",),
    "X-Envoy-External-Address": ("203.0.113.9",),
    "X-Azure-ClientIP": ("203.0.113.9",),
    "X-AppEngine-User-IP": ("203.0.113.9",),
    "X-AppEngine-City": ("berlin",),
    "X-AppEngine-CityLatLong": ("52.520008,13.404954",),
    "X-Vercel-IP-City": ("Berlin",),
    "X-Geo-Country": ("DE",),
    "CloudFront-Viewer-Address": ("203.0.113.9:51007",),
    "CloudFront-Viewer-City": ("Berlin",),
    "CloudFront-Viewer-JA3-Fingerprint": ("e7d705a3286e19ea42f587b344ee6865",),
    "CloudFront-Is-Mobile-Viewer": ("true", "false"),
    "X-JA4": ("t13d1516h2_8daaf6152771_b186095e22b6",),
    "Via": ("1.1 proxy-7.example (squid)",),
    "From": ("jane.doe@mail.example",),
    "Host": ("reader-7.ads.example", "203.0.113.80:8080"),
    "Sec-CH-UA": ('"Chromium";v="141", "Google Chrome";v="141"', '"Not=A?Brand";v="8", "Chromium";v="129"'),
    "Sec-CH-UA-Full-Version": ('"141.0.7390.54"',),
    "Sec-CH-UA-Full-Version-List": ('"Chromium";v="141.0.7390.54"',),
    "Sec-CH-UA-Platform-Version": ('"15.0.0"',),
    "Sec-CH-UA-Arch": ('"arm"',),
    "Sec-CH-UA-Bitness": ('"64"',),
    "Sec-CH-UA-Model": ('"Pixel 9"',),
    "Sec-CH-UA-WoW64": ("?0",),
    "Sec-CH-UA-Form-Factors": ('"Tablet"',),
    "Sec-CH-Prefers-Color-Scheme": ('"dark"',),
    "Sec-CH-Prefers-Reduced-Motion": ('"reduce"',),
    "Sec-CH-Device-Memory": ("8",),
    "Sec-CH-DPR": ("2.625",),
    "Sec-CH-Viewport-Width": ("412",),
    "Sec-CH-Viewport-Height": ("823",),
    "Sec-CH-Lang": ('"de", "en"',),
    "X-Client-Data": ("CIS2yQEIorbJAQipncoBCMKTywE=",),
    "X-Original-User-Agent": ("Mozilla/5.0 (Linux; Android 15; Pixel 9)",),
    "X-Device-User-Agent": ("Mozilla/5.0 (Linux; Android 15; Pixel 9)",),
    "X-OperaMini-Phone-UA": ("Nokia6230i/2.0",),
    "Device-Memory": ("8",),
    "DPR": ("2.625",),
    "Viewport-Width": ("412",),
    "Width": ("640",),
    "RTT": ("150",),
    "Downlink": ("1.5",),
    "ECT": ("3g",),
    "Save-Data": ("on",),
    "Accept": ("text/html", "application/json;q=0.1", "image/avif,*/*;q=0.8"),
    "Accept-Encoding": ("gzip", "br, zstd", "identity;q=0"),
    "Accept-Language": ("de-DE,de;q=0.9", "en-US", "fr"),
    "Accept-Charset": ("iso-8859-5",),
    "Accept-Datetime": ("Wed, 21 Oct 2015 07:28:00 GMT",),
    "Referer": ("https://clinic.example/hiv?uid=7", "https://daily.example/"),
    "If-None-Match": ('"x"', "*", 'W/"u7"'),
    "If-Match": ('"x"',),
    "If-Modified-Since": ("Wed, 21 Oct 2015 07:28:00 GMT",),
    "If-Unmodified-Since": ("Wed, 21 Oct 2015 07:28:00 GMT",),
    "If-Range": ('"x"',),
    "Range": ("bytes=0-7", "bytes=-1"),
    "Cache-Control": ("no-cache", "max-age=0"),
    "Pragma": ("no-cache",),
    "DNT": ("1", "0"),
    "Available-Dictionary": (":pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=:",),
    "Dictionary-ID": ('"reader-7"',),
    "Last-Event-ID": ("7",),
    "Date": ("Mon, 23 Nov 2026 18:05:00 GMT",),
    "Expect": ("100-continue",),
    "TE": ("trailers",),
    "Connection": ("close", "keep-alive"),
    "Transfer-Encoding": ("chunked",),
    "Alt-Used": ("reader-7.ads.example",),
    "Upgrade-Insecure-Requests": ("1",),
    "traceparent": ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
    "tracestate": ("vendor=reader7",),
    "baggage": ("userId=7",),
    "X-Request-Id": ("7d1f8a3c-55aa-4c4e-9d55-3c1d2f0a9b11",),
    "X-Correlation-Id": ("reader-7",),
    "X-Amzn-Trace-Id": ("Root=1-67891233-abcdef012345678912345678",),
    "X-B3-TraceId": ("463ac35c9f6413ad48485a3953bb6124",),
    "X-Cloud-Trace-Context": ("105445aa7843bc8bf206b12000100000/1;o=1",),
    "X-UIDH": ("OTgxNTk2NDk0ADJVquRu5NS5",),
    "X-ACR": ("acr-7",),
    "X-Wap-Profile": ("http://wap.example/phone-7.xml",),
    "X-MSISDN": ("491701234567",),
    "X-Requested-With": ("com.example.reader", "XMLHttpRequest"),
    "X-Api-Key": ("reader-7",),
    "X-Session-Id": ("s-7",),
    "X-HTTP-Method-Override": ("DELETE",),
    "X-Original-URL": ("/v1/other?uid=7",),
    "X-Consent-Token": ("eyJhbGciOiJub25lIn0.e30.",),
    "Sec-Browsing-Topics": ("(1 2);v=chrome.1:2:3, ();p=P00",),
    "Attribution-Reporting-Eligible": ("trigger, event-source",),
    "Attribution-Reporting-Support": ("web",),
    "Sec-Shared-Storage-Writable": ("?1",),
    "Sec-Ad-Auction-Fetch": ("?1",),
    "Sec-Cookie-Deprecation": ("label_7",),
    "Sec-Private-State-Token": ("AAEC",),
    "Sec-Redemption-Record": ('"https://issuer.example";redemption-record=AAEC',),
    "Sec-Secure-Session-Id": ("s-7",),
    "Service-Worker": ("script",),
    "Ping-From": ("https://clinic.example/hiv?uid=7",),
    "Ping-To": ("https://ads.example/?uid=7",),
    "Sec-Fetch-Site": ("cross-site", "same-origin"),
    "Sec-Fetch-Mode": ("cors",),
    "Sec-Fetch-Dest": ("empty",),
    "Sec-Fetch-User": ("?1",),
    "Sec-Fetch-Storage-Access": ("active",),
    "Early-Data": ("1",),
    "Priority": ("u=1, i",),
    "Keep-Alive": ("timeout=7",),
    "Access-Control-Request-Headers": ("x-reader-7", "authorization"),
    "Access-Control-Request-Private-Network": ("true",),
    "X-Tactful": ("reader-7",),
}
# What stands before a service adds of those who signed in, of their certificates, their devices and their traces.
_BUNDLES: dict[str, dict[str, str]] = {
    "signed in": {
        "Remote-User": "jane",
        "X-Remote-User": "jane",
        "X-Forwarded-User": "jane",
        "X-Forwarded-Email": "jane.doe@mail.example",
        "X-Forwarded-Preferred-Username": "jane",
        "X-Auth-Request-User": "jane",
        "X-Auth-Request-Email": "jane.doe@mail.example",
        "X-WebAuth-User": "jane",
        "X-Goog-Authenticated-User-Email": "accounts.google.com:jane@mail.example",
        "Cf-Access-Authenticated-User-Email": "jane.doe@mail.example",
        "Tailscale-User-Login": "jane@mail.example",
        "X-MS-Client-Principal-Name": "jane@mail.example",
        "X-Amzn-Oidc-Identity": "7f3a-jane",
        "X-Token": "7f3a",
        "X-CSRF-Token": "7f3a",
        "Idempotency-Key": '"7f3a"',
    },
    "certificate": {
        "Client-Cert": ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6:",
        "X-Client-Cert": "MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6",
        "X-SSL-Client-S-DN": "CN=jane",
        "X-SSL-Client-Verify": "SUCCESS",
        "X-Forwarded-Client-Cert": 'Hash=7f3a;Subject="CN=jane"',
        "X-TLS-Fingerprint": "771,4865-4866,0-23,29-23,0",
        "X-SSL-Protocol": "TLSv1.3",
        "X-SSL-Cipher": "TLS_AES_128_GCM_SHA256",
    },
    "device": {
        "X-Device-Id": "7f3a",
        "X-Install-Id": "7f3a",
        "X-UA-Device": "mobile-android",
        "X-Akamai-Device-Characteristics": "brand_name=Chrome;resolution_width=412",
        "X-Akamai-Edgescape": "georegion=263,country_code=DE,city=BERLIN",
        "X-Country-Code": "DE",
        "X-Geo-City": "Berlin",
        "X-Timezone": "Europe/Berlin",
        "Sec-GPC-Reader": "7",
    },
    "trace": {
        "X-Amz-Cf-Id": "7f3aQpKJ==",
        "CDN-Loop": "cdn-7.example",
        "sentry-trace": "463ac35c9f6413ad48485a3953bb6124-a2fb4a1d1a96d312-1",
        "uber-trace-id": "463ac35c9f6413ad:48485a3953bb6124:0:1",
        "newrelic": "eyJ2IjpbMCwxXX0=",
        "X-Datadog-Trace-Id": "7821239",
        "X-NewRelic-ID": "VQMGUVZVDRABVVdTBwMOVA==",
    },
    "another protocol": {
        "Upgrade": "websocket, h2c",
        "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Signature-Input": 'sig1=("@authority");keyid="reader-7"',
        "Signature": "sig1=:7f3a:",
        "Accept-Signature": 'sig1=("@authority")',
    },
}
_CONNECTION: dict[str, tuple[str, ...]] = {
    "REMOTE_ADDR": ("198.51.100.7", "2001:db8::7", "203.0.113.200"),
    "REMOTE_PORT": ("51007",),
    "REMOTE_HOST": ("dsl-7.provider.example",),
    "REMOTE_USER": ("jane",),
    "REMOTE_IDENT": ("jane",),
    "AUTH_TYPE": ("Basic",),
    "SERVER_PROTOCOL": ("HTTP/2", "HTTP/1.0"),
    "SERVER_NAME": ("203.0.113.80",),
    "SSL_CLIENT_S_DN": ("CN=jane",),
    "SSL_SESSION_ID": ("7f3a",),
    "HTTP_SSL_JA3": ("771,4865-4866,0-23,29-23,0",),
    "SERVER_PORT": ("443",),
    "wsgi.url_scheme": ("https",),
    "HTTPS": ("on",),
    "SSL_PROTOCOL": ("TLSv1.3",),
    "REQUEST_URI": ("/v1/decisions?uid=7",),
    "PATH_TRANSLATED": ("/home/jane/v1/decisions",),
    "RAW_URI": ("/v1/decisions?uid=7",),
}
# What bid requests say of readers (OpenRTB 2.6, Prebid), by path.
_ORTB: dict[str, tuple[Any, ...]] = {
    "device.ua": ("Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/141.0.7390.54",),
    "device.ip": ("203.0.113.9",),
    "device.ipv6": ("2001:db8::7",),
    "device.ifa": ("6f7f0f0d-2b11-4b1c-9a35-3c3bd5f61d1d",),
    "device.dpidmd5": ("0123456789abcdef0123456789abcdef",),
    "device.language": ("fr",),
    "device.w": (411,),
    "device.h": (823,),
    "device.pxratio": (2.625,),
    "device.make": ("Maker",),
    "device.model": ("Pixel 9",),
    "device.osv": ("15.0.7",),
    "device.carrier": ("Carrier",),
    "device.connectiontype": (6,),
    "device.ext": ({"vpw": 411, "vph": 800},),
    "device.sua.browsers": ([{"brand": "Chromium", "version": ["141", "0", "7390", "54"]}],),
    "device.sua.platform.version": (["15", "0"],),
    "device.sua.model": ("Pixel 9",),
    "device.geo.lat": (52.520008,),
    "device.geo.lon": (13.404954,),
    "device.geo.zip": ("10115",),
    "device.geo.city": ("Berlin",),
    "user.id": ("reader-7",),
    "user.buyeruid": ("b-7",),
    "user.yob": (1984,),
    "user.gender": ("F",),
    "user.keywords": ("pregnant,runner",),
    "user.data": ([{"id": "dmp", "segment": [{"id": "7"}], "ext": {"segtax": 4}}],),
    "user.geo": ({"lat": 52.5, "lon": 13.4},),
    "user.eids": ([{"source": "id.example", "uids": [{"id": "u7"}]}],),
    "user.ext.eids": ([{"source": "id.example", "uids": [{"id": "u7"}]}],),
    "source.tid": ("7d1f8a3c-55aa-4c4e-9d55-3c1d2f0a9b11",),
    "imp.0.ext.tid": ("7d1f8a3c-55aa-4c4e-9d55-3c1d2f0a9b12",),
    "imp.0.ext.gpid": ("/sport/reader-7",),
    "site.ref": ("https://clinic.example/hiv?uid=7",),
    "site.search": ("help against cancer",),
    "site.ext.data.uid": ("reader-7",),
    "regs.ext.us_privacy": ("1YNN",),
    "ext.prebid.page_view_ids": ({"tactful": "a6487c1f-d918-40a7-b3b4-1dc541ec7c4a"},),
    "ext.prebid.auctiontimestamp": (1795436885248,),
}
_QUERIES = ("gclid=EAIaIQob", "email=jane.doe%40mail.example", "uid=7&utm_source=letter", "_=1732374000123")
_PAGE_SUFFIXES = (
    *("?gclid=EAIaIQobChMI", "?fbclid=IwAR0", "?msclkid=7f3a", "?email=jane.doe@mail.example", "?uid=7&x=1"),
    *("#uid=7", "#:~:text=jane", ";jsessionid=1A530637289A03B07199A44E8D531427", "?"),
)
_MASKED = (
    "/%s/read",
    ("jane.doe@mail.example", "john%40post.example", "bob%2540post.example", "b＠x.example"),
)
_FOREIGN = (
    "https://stranger-1.example",
    "https://stranger-2.example:8443",
    "null",
    "https://STRANGER.example",
)


def _agents(*texts: str, **hints: str) -> tuple[Sender, ...]:
    named = {name.replace("_", "-"): value for name, value in hints.items()}
    return tuple(Sender({"User-Agent": text, **named}) for text in texts)


_WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%s Safari/537.36"
)
_ANDROID = (
    "Mozilla/5.0 (Linux; Android %s) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%s Mobile Safari/537.36"
)
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS %s like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) %s"

KINDS: tuple[Kind, ...] = (
    Kind(
        "desktop windows",
        (
            *_agents(_WINDOWS % "141.0.0.0"),
            *_agents(_WINDOWS % "141.0.7390.54", _WINDOWS % "138.0.0.0" + " Edg/138.0.3351.65"),
            *_agents("Mozilla/5.0 (Windows NT 6.1; rv:115.0) Gecko/20100101 Firefox/115.0"),
            *_agents(_WINDOWS % "141.0.0.0", Sec_CH_UA_Mobile="?0", Sec_CH_UA_Platform='"Windows"'),
        ),
    ),
    Kind(
        "phone android",
        (
            *_agents(_ANDROID % ("10; K", "141.0.0.0")),
            *_agents(
                _ANDROID % ("14; Pixel 9 Build/AP4A", "129.0.6668.81"),
                _ANDROID % ("15; SM-S931B", "141.0.0.0"),
            ),
            *_agents("Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0"),
            *_agents(
                _ANDROID % ("10; K", "141.0.0.0"), Sec_CH_UA_Mobile="?1", Sec_CH_UA_Platform='"Android"'
            ),
        ),
    ),
    Kind(
        "phone ios",
        (
            *_agents(_IPHONE % ("19_0", "Version/26.0 Mobile/15E148 Safari/604.1")),
            *_agents(_IPHONE % ("17_5_1", "CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1")),
            *_agents(_IPHONE % ("18_1", "Mobile/22B83 [FBAN/FBIOS;FBAV/500.0.0.1;FBLC/de_DE;FBRV/7]")),
        ),
    ),
    Kind(
        "a declared machine",
        (
            *_agents("curl/8.5.0"),
            *_agents("curl/7.88.1", "python-requests/2.32.3", "Wget/1.21.4", "Twitterbot/1.0"),
            *_agents("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
        ),
    ),
    Kind(
        "a page fetched ahead",
        (
            *_agents(_WINDOWS % "141.0.0.0", Sec_Purpose="prefetch"),
            *_agents(_WINDOWS % "141.0.0.0", Sec_Purpose="prefetch;prerender"),
            *_agents(_WINDOWS % "141.0.0.0", Purpose="prefetch"),
            *_agents(_WINDOWS % "138.0.0.0" + " Edg/138.0.3351.65", X_Moz="prefetch"),
        ),
    ),
)


def channels(kind: Kind, mute: bool = False, auction: bool = False) -> tuple[Channel, ...]:
    """Give every channel for a reader with this kind of device; `mute` where not even a good token may act.

    `auction`: what is asked is a bid request.
    """
    template, hidden = _MASKED
    return (
        *(
            Channel(name, tuple(Sender({name: value}) for value in values))
            for name, values in _HEADERS.items()
        ),
        *(
            Channel(name, tuple(Sender(connection={name: value}) for value in values))
            for name, values in _CONNECTION.items()
        ),
        *(
            Channel(f"bid request {path}", tuple(Sender(ortb={path: value}) for value in values))
            for path, values in (_ORTB.items() if auction else ())
        ),
        Channel("User-Agent", kind.senders[1:]),
        Channel("Origin of a stranger", _origins(_FOREIGN[1:]), *_origins(_FOREIGN[:1])),
        Channel("query", tuple(Sender(query=query) for query in _QUERIES)),
        Channel("page.url userinfo", (Sender(page_userinfo="jane:secret@"), Sender(page_userinfo="7@"))),
        Channel("page.url query", tuple(Sender(page_suffix=suffix) for suffix in _PAGE_SUFFIXES)),
        Channel(
            "page.url path",
            tuple(Sender(page_suffix=template % name) for name in hidden[1:]),
            Sender(page_suffix=template % hidden[0]),
        ),
        Channel(
            "Content-Type", tuple(Sender({"Content-Type": text}) for text in ("; charset=utf-8", ";uid=7"))
        ),
        Channel("header order", (Sender(reverse=True),)),
        Channel("spelling of the body", (Sender(spelt=True),)),
        *(Channel(name, (Sender(headers),)) for name, headers in _BUNDLES.items()),
        Channel(
            "consent that is none", tuple(Sender(consent=way) for way in (*VOID, *(GOOD if mute else ())))
        ),
        *(
            Channel(
                f"consent under regs.{law}",
                tuple(Sender(consent=f"{law} {way}") for way in GOOD),
                Sender(consent=f"{law} nothing"),
            )
            for law in LAWS
        ),
    )


def together(senders: Iterable[Sender]) -> Sender:
    """Say everything at once."""
    return reduce(Sender.__or__, senders, PLAIN)


def _origins(origins: Iterable[str]) -> tuple[Sender, ...]:
    return tuple(Sender({"Origin": origin}) for origin in origins)
