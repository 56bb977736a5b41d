// Tells of impressions and viewable impressions of whatever carries their addresses, as a decision answered them:
//
//   <div data-tactful-impression="…" data-tactful-viewable="…">the creative</div>
//
// An impression is told when its element stands in the page. Viewable is the MRC's definition (not accredited): half
// of the pixels, of 242,500 pixels and more 30 %, in view for one continuous second of a visible tab. Nothing is
// stored or read on the device, and each address is told once.
(() => {
  'use strict';
  const LARGE = 242500;
  const HELD_MS = 1000;
  const SELECTOR = '[data-tactful-impression], [data-tactful-viewable]';
  const inView = new Map(); // element → timer, or null while the tab is hidden

  const tell = (url) => {
    if (url && !(navigator.sendBeacon && navigator.sendBeacon(url))) new Image().src = url;
  };

  const take = (element, name) => {
    const url = element.dataset[name];
    delete element.dataset[name];
    return url;
  };

  const start = (element) => {
    clearTimeout(inView.get(element));
    const hold = () => {
      inView.delete(element);
      observer.unobserve(element);
      tell(take(element, 'tactfulViewable'));
    };
    inView.set(element, document.visibilityState === 'visible' ? setTimeout(hold, HELD_MS) : null);
  };

  const stop = (element) => {
    clearTimeout(inView.get(element));
    inView.delete(element);
  };

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const area = entry.boundingClientRect.width * entry.boundingClientRect.height; // of nothing, all is in view
      const enough = area > 0 && entry.intersectionRatio >= (area >= LARGE ? 0.3 : 0.5);
      if (enough && !inView.has(entry.target)) start(entry.target);
      if (!enough) stop(entry.target);
    }
  }, { threshold: [0, 0.3, 0.5] });

  const watch = (element) => {
    tell(take(element, 'tactfulImpression'));
    if (element.dataset.tactfulViewable) observer.observe(element);
  };

  document.addEventListener('visibilitychange', () => [...inView.keys()].forEach(start));
  const look = () => document.querySelectorAll(SELECTOR).forEach(watch);
  const begin = () => {
    new MutationObserver(look).observe(document.documentElement, { childList: true, subtree: true });
    look();
  };
  // A page that is made ready before its reader comes, and may never come, shows nothing yet.
  if (document.prerendering) document.addEventListener('prerenderingchange', begin, { once: true });
  else begin();
})();
