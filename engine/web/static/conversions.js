// Hands a conversion's token from a publisher's page to the advertiser's page that a click opened: from window to
// window, so that no address, cookie or storage holds it. Both pages load this file.
//
// The publisher's page, for readers who agreed to be measured; each call of `consent` gives a nonce of its own:
//   tactfulConversions.hand({publisher: "daily-planet", consent: () => ({token, nonce})}, document.querySelector("#ad"))
// The advertiser's page, which gets the token as often as it is handed one, and tells of a conversion once:
//   tactfulConversions.take(token => ...)          later: tactfulConversions.tell(token)
(() => {
  "use strict";
  const service = new URL(document.currentScript.src);
  const at = path => new URL(path, service).href;
  const ASK = "tactful-conversion?", GIVE = "tactful-conversion";

  const hand = (said, place) => {
    place.addEventListener("click", async event => {
      const link = event.composedPath().find(one => one.href?.startsWith?.(at("click/")));
      if (!link) return;
      event.preventDefault();
      const opened = window.open(link.href, "_blank");
      if (!opened) { location.assign(link.href); return; }
      const asked = new Promise(done => {
        const listen = message => {
          if (message.source !== opened || message.data !== ASK) return;
          removeEventListener("message", listen);
          done(message.origin);
        };
        addEventListener("message", listen);
      });
      try {
        const body = JSON.stringify({publisher: said.publisher, click: link.href, consent: said.consent()});
        const answer = await fetch(at("conversions"), {method: "POST", body, headers: {"Content-Type": "text/plain"}});
        if (answer.status !== 200) return;
        const {token, origin} = await answer.json();
        if (await asked === origin) opened.postMessage({[GIVE]: token}, origin);
      } catch {} // the click went where it leads; no conversion of it is told
    });
  };

  const take = use => {
    if (!opener) return;
    addEventListener("message", message => {
      const token = message.source === opener && message.data && message.data[GIVE];
      if (typeof token === "string") use(token);
    });
    opener.postMessage(ASK, "*");
  };

  const tell = token => navigator.sendBeacon(at("events"), token);

  window.tactfulConversions = {hand, take, tell};
})();
