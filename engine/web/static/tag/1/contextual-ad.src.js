// <contextual-ad publisher placement width height consent-token>: a creative that fits the page, in its reserved box.
// Of the device it reads GPC, the CMP's strings (beside a consent token alone) and what is in view; it keeps nothing.
// What is served is contextual-ad.js, made of this by esbuild (tests/test_tag.py says how); names with _ are shortened.
try {
  const NAME = 'contextual-ad';
  const ATTRIBUTES = ['publisher', 'placement', 'consent-token', 'width', 'height'];
  const script = document.currentScript;
  const base = script.dataset.server || script.src.split('/v1/tag/')[0];
  const ads = new Set();
  const waiting = new Set();
  const quiet = { method: 'POST', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer' };
  let path = location.pathname;
  let policy;

  const cut = (text, most) => `${text ?? ''}`.slice(0, most).replace(/\p{Cs}/gu, '').trim();
  const meta = (name) => document.querySelector(`meta[name="${name}"],meta[property="${name}"]`)?.content;

  const words = () => {
    const found = [meta('article:section'), meta('keywords')];
    document.querySelectorAll('[type$="/ld+json"]').forEach((block) => {
      try {
        const graph = [JSON.parse(block.textContent)].flat().flatMap((it) => it?.['@graph'] ?? it);
        graph.forEach((it) => found.push(it?.articleSection, it?.keywords));
      } catch {}
    });
    const named = found.flat().flatMap((it) => it?.split?.(',') ?? it?.name);
    return named.map((it) => cut(it, 80)).filter(Boolean).slice(0, 40);
  };

  const text = () => {
    let said = '';
    let left = 9999; // nodes: a huge page costs no more than a long one
    const skip = 'script,style,noscript,nav,aside,footer,form,' + NAME;
    const walk = document.createTreeWalker(document.querySelector('article,main') || document.body, 5, (node) =>
      node.data ? 1 : left-- < 0 || node.matches(skip) ? 2 : 3); // elements and text: take, leave out, look within
    while (said.length < 5000 && walk.nextNode()) said += walk.currentNode.data.slice(0, 5000).replace(/\s+/g, ' ');
    return cut(said, 5000);
  };

  // What the CMP says at once: nobody is waited for, and while it is silent there is no consent to act on.
  const claim = (token) => {
    const consent = { token, nonce: crypto.getRandomValues(new Uint32Array(6)).join('') }; // 192 bits in at most 60 digits
    const regs = {};
    const ask = (api, command, read, heard = !api) => {
      try { api(...command, (it, good) => good && (heard = !read(it))); } catch {}
      return heard;
    };
    return ask(window.__tcfapi, ['addEventListener', 2], (it) => {
      consent.tcf = it.tcString;
      regs.gdpr = +!!it.gdprApplies;
    }) && ask(window.__gpp, ['ping'], (it) => {
      consent.gpp = it.gppString;
      consent.gpp_sid = it.applicableSections?.filter?.((id) => id > 0);
    }) && { consent, regs };
  };

  const tell = async (url) => {
    try {
      if (url.startsWith(base + '/')) await fetch(url, { ...quiet, keepalive: true });
    } catch {}
  };

  const decide = async (group) => {
    const [{ _publisher: publisher, _token: token }] = group;
    const gpc = navigator.globalPrivacyControl ? 'honored' : null;
    const turns = group.map((ad) => {
      ad._path = path;
      return ad._turn;
    });
    let answer;
    try {
      const got = await fetch(base + '/v1/decisions', { // a string is sent as text/plain
        ...quiet,
        signal: AbortSignal.timeout(9000),
        body: JSON.stringify({
          publisher,
          // A name that the service knows none of would have all be refused: its box stays empty alone.
          placements: group.filter((ad) => /^\w[\w.:-]{0,63}$/.test(ad._place)).map((ad) => ({ id: ad._place, sizes: [ad._size] })),
          page: {
            url: /^http/.test(location) ? location.origin + location.pathname : undefined,
            title: cut(document.title, 300),
            description: cut(meta('description'), 1000),
            text: text(),
            keywords: words(),
            language: /^[a-z]{2,3}\b/i.exec(document.documentElement.lang)?.[0],
          },
          ...(token && !gpc && claim(token)),
        }, function (key) { return this[key]; }), // as it is, whatever a toJSON of the page's own made of it
      });
      if (got.ok) answer = await got.json();
    } catch {}
    group.forEach((ad, at) => ad._turn === turns[at] && ad._show(answer, gpc));
  };

  // Those that came near together are decided together, so that no advertiser comes twice.
  const flush = () => {
    const groups = {};
    waiting.forEach((ad) => {
      let key = ad._publisher + ad._token;
      let group; // of 20 at most, as a request has
      while ((group = groups[key] ??= [])[19] || group.some((it) => it._place === ad._place)) key += ' ';
      group.push(ad);
    });
    waiting.clear();
    Object.values(groups).forEach(decide);
  };

  const near = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
    if (!isIntersecting) return;
    near.unobserve(target);
    if (!waiting.size) setTimeout(flush);
    waiting.add(target);
  }), { rootMargin: '600px' });

  // MRC (not accredited): half of the pixels, of 242,500 and more 30 %, for one continuous second of a visible tab, looked
  // at each 100 ms; what a style hides (visibility, opacity: 0) is not seen. What lies over it no page is told.
  const rest = (ad) => { ad._held = clearInterval(ad._held); };
  const seen = new IntersectionObserver((entries) => entries.forEach(({ target, boundingClientRect: it, intersectionRatio }) => {
    const area = it.width * it.height;
    let looks = 0;
    if (!area || intersectionRatio < (area < 242500 ? 0.5 : 0.3)) rest(target);
    else target._held ??= setInterval(() => {
      if (document.hidden || target.checkVisibility?.({ opacityProperty: true, visibilityProperty: true }) === false) looks = 0;
      else if (++looks > 9) {
        rest(target);
        seen.unobserve(target);
        tell(target._viewable);
      }
    }, 100);
  }), { threshold: [0, 0.3, 0.5] });

  // The page first puts its new words in place. Browsers without the Navigation API tell of going back alone.
  // What it put there since is decided already.
  const move = () => {
    if (path !== (path = location.pathname)) setTimeout(() => ads.forEach((ad) => ad._path !== path && ad._renew()), 300);
  };
  addEventListener('popstate', move);
  window.navigation?.addEventListener?.('currententrychange', move); // a page may have a `navigation` of its own

  customElements.define(NAME, class extends HTMLElement {
    static observedAttributes = ATTRIBUTES;
    _turn = 0;

    connectedCallback() {
      ads.add(this);
      if (!this._turn) {
        this.attachShadow({ mode: 'open' });
        this._renew();
      }
    }

    disconnectedCallback() {
      ads.delete(this); // for the observers it is out of view
    }

    attributeChangedCallback(name, was, is) {
      if (this._turn && was !== is) this._renew();
    }

    _renew() {
      let w, h;
      [this._publisher, this._place, this._token, w, h] = ATTRIBUTES.map((name) => this.getAttribute(name) || '');
      this._size = [w = +/^[1-9]\d{0,3}(?!\d)/.exec(w) || 300, h = +/^[1-9]\d{0,3}(?!\d)/.exec(h) || 250];
      this._place ||= 'ad';
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(`:host{display:block;width:${w}px;max-width:100%;height:${h}px;contain:content}iframe{display:block;border:0;width:100%;height:100%}`);
      this.shadowRoot.adoptedStyleSheets = [sheet];
      this._turn++;
      near.observe(this);
    }

    _show(answer, gpc) {
      const root = this.shadowRoot;
      if (root.activeElement) return addEventListener('focus', () => this._show(answer, gpc), { once: true }); // a reader is in it
      seen.unobserve(this);
      rest(this);
      let frame;
      try {
        gpc = answer.privacy?.gpc ?? gpc;
        const filled = answer.decisions.find((it) => it?.placement === this._place);
        policy ??= window.trustedTypes?.createPolicy(NAME, { createHTML: (it) => it });
        const srcdoc = `<!doctype html><meta http-equiv=Content-Security-Policy content="default-src 'none';img-src ${base}/;style-src ${base}/"><link rel=stylesheet href="${base}/v1/tag/1/creative.css">${filled.creative.html.trim()}`;
        frame = Object.assign(document.createElement('iframe'), {
          title: 'Advertisement',
          sandbox: 'allow-popups allow-popups-to-escape-sandbox',
          referrerPolicy: 'no-referrer',
          srcdoc: policy?.createHTML(srcdoc) ?? srcdoc,
        });
        frame.addEventListener('load', () => {
          tell(filled.events?.impression);
          this._viewable = filled.events?.viewable;
          seen.observe(this);
        }, { once: true });
      } catch {}
      root.replaceChildren(frame ?? '');
      this.toggleAttribute('empty', !frame);
      this.dispatchEvent(new CustomEvent(NAME, { bubbles: true, detail: { filled: !!frame, gpc } }));
    }
  });
} catch {} // of a page that took away what this needs, or has it already
